// Heads and MLPs of a prediction: which there are, what each contributes, what it is called.

/** What a head (`3`), a head of a second attention (`x3`) or the MLP (`mlp`) writes at each token; null for none. */
export function partOf(data, layer, head) {
  if (head === "mlp") return data.mlps[layer] || null;
  const heads = head.startsWith("x") ? data.crossHeads[layer] : data.heads[layer];
  return (head && heads?.[Number(head.replace("x", ""))]) || null;
}

/** The number of a head among the edges of its layer, which has those of a second attention after the others. */
export const edgeHead = (data, layer, head) =>
  head.startsWith("x") ? (data.heads[layer] || []).length + Number(head.slice(1)) : Number(head);

/** The columns: heads, those of a second attention, and the MLP; `[key, label]`. */
export function columnsOf(data) {
  const most = (parts) => Math.max(0, ...Object.values(parts).map((heads) => heads.length));
  const [own, second] = [most(data.heads), most(data.crossHeads)];
  return [
    ...Array.from({ length: own }, (_, head) => [`${head}`, `h${head}`]),
    ...Array.from({ length: second }, (_, head) => [`x${head}`, `2nd h${head}`]),
    ...(Object.keys(data.mlps).length ? [["mlp", "MLP"]] : []),
  ];
}

/** What a head or an MLP contributes at all tokens together; undefined where there is none. */
export const sumOfPart = (data, layer, key) => {
  const values = partOf(data, layer, key);
  return values?.reduce((sum, each) => sum + each, 0);
};

export const partCalled = (data, layer, key) => {
  const where = data.page.layers[layer] || `layer ${layer}`;
  if (key === "mlp") return `${where}, MLP`;
  return key.startsWith("x") ? `${where}, second attention, head ${key.slice(1)}` : `${where}, head ${key}`;
};
