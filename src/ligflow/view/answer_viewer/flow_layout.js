// Where the flow is drawn: words in columns, layers from the bottom to the top, ribbons side by side whose widths add up.

const [HEAD_AT, MLP_AT] = [0.34, 0.16]; // of the way from a row down to the one below: heads, and the bars of MLPs
const [FULL, STUB, WIDEST] = [0.72, 0.3, 44]; // of a column the widest word, or in pixels if that is more; of a row a stub
const APART = 9; // pixels between heads of a word, or as many as the column has

/**
 * Ribbons and nodes of a drawn flow, in a world of columns `column` wide and rows `row` high, whose top row is the answer.
 *
 * A ribbon, `{ kind, step, layer, value, width }` with its words and head, goes up from `x1, y1` to `x2, y2`, and is
 * `|value| unit` wide. What enters a node lies side by side below it, what leaves it above it, in the order of where it
 * comes from and goes to, so that few ribbons cross: a head stands at that side of its word from which it reads, and
 * at the right if it reads the word itself. Of what stands in the columns of words alone that from the first to the
 * last of `range` is laid out.
 */
export function flowLayout(flow, drawn, column, row, range) {
  const rows = drawn.steps.length + 1;
  const at = { column, row, rows, columns: flow.sums[0].length, range, nodes: [] };
  at.middle = (word) => (word + 0.5) * column;
  at.level = (i) => (rows - i) * row;
  const words = Array.from({ length: range[1] - range[0] + 1 }, (_, i) => range[0] + i);
  at.ribbons = drawn.steps.flatMap((step, i) => ribbonsOf(step, i, words));
  const below = groups(at.ribbons, (each) => each.to !== undefined && `${each.step + 1} ${each.to}`);
  const above = groups(at.ribbons, (each) => each.from !== undefined && `${each.step} ${each.from}`);
  at.unit = Math.max(FULL * column, WIDEST) / (widest(drawn) || 1);
  for (const ribbon of at.ribbons) ribbon.width = Math.abs(ribbon.value) * at.unit;
  const ends = drawn.steps.flatMap(({ edges }) => edges.flatMap((e) => [e.source, e.target]));
  const stood = [...new Set([...words, ...ends])];
  for (let i = 0; i < rows; i++)
    for (const word of stood) {
      const value = flow.sums[flow.first + i][word];
      const ribbons = [below.get(`${i} ${word}`) || [], above.get(`${i} ${word}`) || []];
      layWord(at, { kind: "word", step: i, word, value, x: at.middle(word), y: at.level(i) }, ribbons);
    }
  drawn.steps.forEach((step, i) => {
    layHeads(at, step, i);
  });
  for (const ribbon of at.ribbons) layStub(at, ribbon);
  layAnswer(at, flow);
  at.ribbons.sort((a, b) => a.width - b.width); // the strong ones last
  at.columnsOf = groups([...at.ribbons, ...at.nodes], (each) => wordOf(each) ?? false);
  at.between = at.ribbons.filter((each) => wordOf(each) === undefined);
  return at;
}

/** The links of a step: from the word `from` below, to the word `to` above, or to and from a `head` at the word `at`. */
function ribbonsOf(step, i, words) {
  const own = { step: i, layer: step.layer };
  const means = meansRead(step.edges);
  const mean = (head, word) => means.get(`${head} ${word}`);
  const ribbons = [
    ...step.edges.map((e) => ({
      ...own,
      kind: "edge",
      from: e.source,
      head: e.head,
      at: e.target,
      mean: mean(e.head, e.target),
      value: e.value,
      edge: e,
    })),
    ...step.nodes.map((n) => ({
      ...own,
      kind: "head",
      head: n.head,
      at: n.unit,
      to: n.unit,
      mean: mean(n.head, n.unit),
      value: n.value,
    })),
    ...step.nodes.map((n) => ({ ...own, kind: "left out of a head", head: n.head, at: n.unit, value: n.rest })),
    ...words.map((word) => ({ ...own, kind: "own", from: word, to: word, value: step.own?.[word] || 0 })),
    ...words.map((word) => ({ ...own, kind: "left out below", to: word, value: step.restIn[word] })),
    ...words.map((word) => ({ ...own, kind: "left out above", from: word, value: step.restOut[word] })),
  ];
  return ribbons.filter(({ value }) => value);
}

/** The words that each head reads at each word, in the mean by magnitude of what is drawn. */
function meansRead(edges) {
  const sums = new Map();
  for (const { head, target, source, value } of edges) {
    const sum = sums.get(`${head} ${target}`) || [0, 0];
    sums.set(`${head} ${target}`, [sum[0] + Math.abs(value) * source, sum[1] + Math.abs(value)]);
  }
  return new Map([...sums].map(([key, [moment, size]]) => [key, moment / size]));
}

/** The word in whose column a node or a ribbon stands; none for ribbons that lead elsewhere. */
function wordOf({ kind, from, to, at, word }) {
  if (word !== undefined) return word;
  if (kind === "own" || kind === "left out below") return to;
  return { "left out above": from, "left out of a head": at, head: at }[kind];
}

/** Items by a key, without those that have none. */
function groups(items, keyOf) {
  const found = new Map();
  for (const item of items) {
    const key = keyOf(item);
    if (key === false) continue;
    if (!found.has(key)) found.set(key, []);
    found.get(key).push(item);
  }
  return found;
}

/** The most that enters or leaves a word anywhere, without signs. */
function widest(drawn) {
  let most = 0;
  for (const { own, nodes, edges, restIn, restOut } of drawn.steps) {
    const sums = [restIn, restOut].map((rest) => rest.map((value, i) => Math.abs(value) + Math.abs(own?.[i] || 0)));
    for (const { unit, value } of nodes) sums[0][unit] += Math.abs(value);
    for (const { source, value } of edges) sums[1][source] += Math.abs(value);
    for (const sum of sums) most = sum.reduce((largest, value) => Math.max(largest, value), most);
  }
  return most;
}

const spread = (ribbons) => ribbons.reduce((sum, { value }) => sum + Math.abs(value), 0);

/** Heads below the words at which they write, what they read below them; bars of MLPs on their column. */
function layHeads(at, step, i) {
  const y = at.level(i + 1) + HEAD_AT * at.row;
  const byWord = groups(step.nodes, ({ unit }) => unit);
  const read = groups(
    at.ribbons.filter((each) => each.step === i && each.head !== undefined),
    ({ head, at: word }) => `${head} ${word}`,
  );
  for (const [word, nodes] of byWord) {
    const heads = nodes.map((node) => {
      const [written, others] = [[], []];
      for (const each of read.get(`${node.head} ${word}`)) (each.kind === "head" ? written : others).push(each);
      return { node, written, others, mean: others.find((each) => each.kind === "edge").mean };
    });
    placeHeads(at, word, heads);
    for (const { node, written, others, x } of heads) {
      others.sort((a, b) => turn(a, word) - turn(b, word));
      const width = Math.max(spread(written), spread(others)) * at.unit;
      at.nodes.push({ ...node, kind: "head", word, step: i, layer: step.layer, x, y, width });
      stack(others, x, (each, place) => Object.assign(each, { x2: place, y2: y }));
      stack(written, x, (each, place) => Object.assign(each, { x1: place, y1: y }));
    }
  }
  for (const { unit, value } of step.mlps) {
    if (unit < at.range[0] || unit > at.range[1]) continue;
    const place = { x: at.middle(unit), y: at.level(i + 1) + MLP_AT * at.row };
    at.nodes.push({
      kind: "mlp",
      step: i,
      layer: step.layer,
      word: unit,
      value,
      ...place,
      width: Math.abs(value) * at.unit,
    });
  }
}

/** Gives each head its `x`: straight below where it enters its word, and apart from the others of its side. */
function placeHeads(at, word, heads) {
  const apart = Math.min(APART, (0.45 * at.column) / heads.length);
  const outward = [...heads].sort((a, b) => Math.abs(a.mean - word) - Math.abs(b.mean - word));
  for (const side of [-1, 1]) {
    let last = at.middle(word);
    for (const head of outward.filter(({ mean }) => mean < word === side < 0)) {
      const entered = head.written[0]?.x2 ?? last;
      last = side < 0 ? Math.min(entered, last - apart) : Math.max(entered, last + apart);
      head.x = last;
    }
  }
}

/** From left to right: what a head reads from words before its own, what is not drawn, what it reads from others. */
const turn = ({ from }, word) => (from === undefined ? word - 0.5 : from);

/** A word at a cut, with the upper ends of what enters it and the lower ends of what leaves it. */
function layWord(at, node, [below, above]) {
  if (!node.value && !below.length && !above.length) return;
  at.nodes.push({
    ...node,
    width: Math.max(Math.abs(node.value) * at.unit, spread(below) * at.unit, spread(above) * at.unit),
  });
  below.sort((a, b) => entry(a, node.word) - entry(b, node.word));
  above.sort((a, b) => exit(a, node.word) - exit(b, node.word) || (a.mean ?? 0) - (b.mean ?? 0));
  stack(below, node.x, (each, x) => Object.assign(each, { x2: x, y2: node.y }));
  stack(above, node.x, (each, x) => Object.assign(each, { x1: x, y1: node.y }));
}

/** The order from left to right of what enters a word: heads that read before it, itself, other heads, what is left out. */
function entry({ kind, mean }, word) {
  if (kind === "left out below") return Number.POSITIVE_INFINITY;
  return kind === "own" ? word - 1e-9 : mean;
}

/** The order of what leaves a word: to heads on its left, itself, to heads on its right, what is left out. */
function exit({ kind, at, mean }, word) {
  if (kind === "left out above") return Number.POSITIVE_INFINITY;
  if (kind === "own") return word;
  return at === word ? word + (mean < word ? -0.5 : 0.5) : at;
}

/** Side by side around a middle. */
function stack(ribbons, middle, put) {
  let x = middle - ribbons.reduce((sum, { width }) => sum + width, 0) / 2;
  for (const ribbon of ribbons) {
    put(ribbon, x + ribbon.width / 2);
    x += ribbon.width;
  }
}

/** What is left out has one end alone: it comes from below, or goes up, for a short way. */
function layStub(at, ribbon) {
  if (ribbon.kind === "left out above") Object.assign(ribbon, { x2: ribbon.x1, y2: ribbon.y1 - STUB * at.row });
  if (ribbon.kind === "left out below") Object.assign(ribbon, { x1: ribbon.x2, y1: ribbon.y2 + STUB * at.row });
  if (ribbon.kind === "left out of a head") Object.assign(ribbon, { x1: ribbon.x2, y1: ribbon.y2 + STUB * at.row });
}

/** The answer above the word that has most of it, and what words hand on to it. */
function layAnswer(at, flow) {
  const top = flow.sums.at(-1);
  const value = top.reduce((sum, each) => sum + each, 0);
  const most = top.reduce((best, each, word) => (Math.abs(each) > Math.abs(top[best]) ? word : best), 0);
  const ribbons = Array.from(top, (each, word) => ({
    kind: "answer",
    step: at.rows - 1,
    layer: -1,
    from: word,
    value: each,
  }));
  const shown = ribbons.filter((each) => each.value);
  for (const each of shown)
    Object.assign(each, { width: Math.abs(each.value) * at.unit, x1: at.middle(each.from), y1: at.level(at.rows - 1) });
  const place = { x: at.middle(most), y: 0 };
  stack(shown, place.x, (each, x) => Object.assign(each, { x2: x, y2: place.y }));
  for (const each of shown) at.ribbons.push(each);
  at.nodes.push({ kind: "answer", step: at.rows, value, ...place, width: spread(shown) * at.unit });
}
