// Numbers as the page says them.

/** A relevance with its sign and three digits. */
export const signed = (value) => {
  const digits = value.toPrecision(3);
  const text = value === 0 || digits.includes("e") ? Number(digits).toString() : digits;
  return value > 0 ? `+${text}` : text.replace("-", "−");
};

/** A number with three digits. */
export const plainly = (value) => signed(value).replace("+", "");

/** A share in per cent; more exactly where it is small, so that no part is called 0. */
export function shareOf(value) {
  const size = Math.abs(100 * value);
  if (size > 0 && size < 0.01) return value > 0 ? "<0.01%" : ">−0.01%";
  const digits = size >= 0.95 || !size ? 0 : size >= 0.095 ? 1 : 2;
  return `${(100 * value).toFixed(digits).replace("-", "−")}%`;
}

/** A probability in per cent, in a column of such: all with one decimal. */
export const chanceOf = (value) => (value > 0 && value < 0.0005 ? "<0.1%" : `${(100 * value).toFixed(1)}%`);

/** A relevance beside its share of all that speaks for and against. */
export const withShare = (data, value) => `${signed(value)} (${shareOf(value / data.scale)})`;
