// Elements of tables that scripts fill. Text is set as text, never as markup.
function element(name, text, kind) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (kind) made.className = kind;
  return made;
}

// A method's cell: a long name may break after brackets, commas and underscores.
function named(text) {
  const cell = element("td", undefined, "method");
  for (const part of text.split(/(?<=[(,_=])(?=\w)/)) cell.append(part, element("wbr"));
  return cell;
}

