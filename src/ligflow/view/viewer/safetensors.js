// Files of tensors (safetensors), in memory or in base64: where each tensor lies, and its numbers.

export const fromBytes = (bytes) => ({ size: bytes.length, read: (begin, end) => bytes.slice(begin, end) });

/** The bytes of a view of a buffer, as a notebook hands them over. */
export const bytesOf = (view) => new Uint8Array(view.buffer, view.byteOffset, view.byteLength).slice();

/** Base64 as a file: a part of it is decoded when it is read. */
export function fromBase64(text) {
  const padding = text.endsWith("==") ? 2 : text.endsWith("=") ? 1 : 0;
  const size = (text.length / 4) * 3 - padding;
  return {
    size,
    read: (begin, end) => {
      const from = Math.floor(begin / 3);
      const bytes = decode(text.slice(from * 4, Math.ceil(end / 3) * 4));
      return bytes.slice(begin - from * 3, end - from * 3);
    },
  };
}

function decode(text) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);
  return Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
}

/** Numbers of a type from bytes of their own. */
export const READ = {
  F32: (b) => new Float32Array(b.buffer),
  F64: (b) => Float32Array.from(new Float64Array(b.buffer)),
  I32: (b) => new Int32Array(b.buffer),
  I64: (b) => Float64Array.from(new BigInt64Array(b.buffer), Number),
  BOOL: (b) => Float32Array.from(b),
  U8: (b) => Float32Array.from(b),
  I8: (b) => Float32Array.from(new Int8Array(b.buffer)),
};
export const BYTES = { F32: 4, F64: 8, I32: 4, I64: 8, BOOL: 1, U8: 1, I8: 1 };

/** Where the tensors of a file are, and its metadata. Throws an Error, `foreign`, for what is no such file. */
export function readTable(source, name, foreign) {
  if (source.size < 9) throw new Error(foreign);
  const length = Number(new DataView(source.read(0, 8).buffer).getBigUint64(0, true));
  if (length > 100e6) throw new Error(foreign);
  if (length > source.size - 8) throw new Error(`${name} is damaged: it ends within its header.`);
  try {
    const entries = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(source.read(8, 8 + length)));
    const metadata = entries.__metadata__ || {};
    delete entries.__metadata__;
    return { entries, metadata, start: 8 + length };
  } catch {
    throw new Error(foreign);
  }
}
