// The decision of harness/analyse/choose.py: which candidates meet every bound, best first by the goal, and the misses.
// A candidate's amounts are [value, low, high], null where nothing was measured. Nothing here touches the page.
function verdict(amount, bound) {
  if (amount === null) return "misses";
  if (amount[2] <= bound) return "meets";
  return amount[1] <= bound ? "undecided" : "misses";
}

function ofGoal(one, goal) {
  return { quality: one.loss, speed: one.speed, memory: one.memory }[goal];
}

function rank(one, goal) {
  const amount = ofGoal(one, goal);
  const first = amount === null ? Infinity : goal === "speed" ? -amount[0] : amount[0];
  return [first, one.loss === null ? Infinity : one.loss[0], one.id];
}

function inOrder(first, other) {
  for (let place = 0; place < first.length; place += 1) {
    if (first[place] < other[place]) return -1;
    if (first[place] > other[place]) return 1;
  }
  return 0;
}

function tied(first, other, goal) {
  if (goal === "quality") return first.ties.includes(other.id) || other.ties.includes(first.id);
  const one = ofGoal(first, goal), two = ofGoal(other, goal);
  return one !== null && two !== null && one[1] <= two[2] && two[1] <= one[2];
}

function decide(candidates, bounds, goal) {
  const ranked = [], excluded = [];
  for (const one of candidates) {
    const wrong = {};
    let undecided = true, distance = 0;
    for (const [name, bound] of Object.entries(bounds)) {
      const how = verdict(one[name], bound);
      if (how === "meets") continue;
      wrong[name] = one[name] === null ? null : one[name][2];
      undecided = undecided && how === "undecided";
      distance = Math.max(distance, wrong[name] === null ? Infinity : wrong[name] / Math.max(bound, 1e-12));
    }
    if (ofGoal(one, goal) === null) {  // what it is to be ranked by was not measured
      wrong[{ quality: "loss", speed: "speed", memory: "memory" }[goal]] = null;
      undecided = false;
      distance = Infinity;
    }
    if (Object.keys(wrong).length) excluded.push({ id: one.id, needs: wrong, undecided, distance });
    else ranked.push(one);
  }
  ranked.sort((a, b) => inOrder(rank(a, goal), rank(b, goal)));
  excluded.sort((a, b) => inOrder([a.distance, a.id], [b.distance, b.id]));
  return {
    ranked: ranked.map((one) => one.id),
    tied: ranked.slice(1).filter((one) => tied(ranked[0], one, goal)).map((one) => one.id),
    excluded: excluded.map(({ id, needs, undecided }) => ({ id, needs, undecided })),
  };
}
