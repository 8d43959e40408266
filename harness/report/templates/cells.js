// Elements of tables that scripts fill. Text is set as text, never as markup.
function element(name, text, kind) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (kind) made.className = kind;
  return made;
}

// An element with a long name, which may break after brackets, commas and underscores.
function named(name, text, kind) {
  const made = element(name, undefined, kind);
  for (const part of text.split(/(?<=[(,_=])(?=\w)/)) made.append(part, element("wbr"));
  return made;
}

