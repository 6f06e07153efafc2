// Which tokens or words of two texts belong together.

/** Which labels of two texts belong together: equal ones in order, and as many others between them on both sides. */
export function aligned(one, two) {
  const best = [...Array(one.length + 1)].map(() => new Int32Array(two.length + 1));
  for (let i = one.length - 1; i >= 0; i--)
    for (let j = two.length - 1; j >= 0; j--) {
      best[i][j] = one[i] === two[j] ? best[i + 1][j + 1] + 1 : Math.max(best[i + 1][j], best[i][j + 1]);
    }
  const pairs = [];
  let [i, j, from, since] = [0, 0, 0, 0];
  const fill = () => {
    if (i - from === j - since) for (let k = 0; k < i - from; k++) pairs.push([from + k, since + k]);
  };
  while (i < one.length && j < two.length) {
    if (one[i] === two[j]) {
      fill();
      pairs.push([i, j]);
      [from, since] = [++i, ++j];
    } else if (best[i + 1][j] >= best[i][j + 1]) i++;
    else j++;
  }
  [i, j] = [one.length, two.length];
  fill();
  return pairs;
}
