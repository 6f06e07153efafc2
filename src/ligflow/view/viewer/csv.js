// Rows of a table as CSV.

/**
 * Rows as CSV: numbers as they are, texts in quotes. Texts are not changed: a token "=" stays "=", though a spreadsheet may
 * take it for a formula.
 */
export const csvOf = (rows) => `${rows.map((row) => row.map(cellOf).join(",")).join("\n")}\n`;

const cellOf = (value) => (typeof value === "number" ? String(value) : `"${String(value).replaceAll('"', '""')}"`);
