/**
 * CRC-32C as overlaybd uses it: the raw register of the reflected polynomial 0x1EDC6F41, without the initial and the
 * final inversion of the usual definition (docs/formats.md §1). This is the plain implementation for headers and
 * indexes; the hot loop over compressed blocks lives in formats/kernels.
 */

/** Start value of the register for the checksum after each compressed block of a ZFile ("salted" form). */
export const CRC32C_BLOCK_SALT = 100_007;

const SLICES = 8;
const tables = makeTables();

/** The register after `bytes`, started at `register` (0 for headers and indexes). Unsigned 32-bit. */
export function crc32c(bytes: Uint8Array, register = 0): number {
  const t = tables;
  let crc = register >>> 0;
  let i = 0;
  for (const end = bytes.length - (SLICES - 1); i < end; i += SLICES) {
    crc ^= bytes[i]! | (bytes[i + 1]! << 8) | (bytes[i + 2]! << 16) | (bytes[i + 3]! << 24);
    crc =
      t[7 * 256 + (crc & 255)]! ^
      t[6 * 256 + ((crc >>> 8) & 255)]! ^
      t[5 * 256 + ((crc >>> 16) & 255)]! ^
      t[4 * 256 + (crc >>> 24)]! ^
      t[3 * 256 + bytes[i + 4]!]! ^
      t[2 * 256 + bytes[i + 5]!]! ^
      t[256 + bytes[i + 6]!]! ^
      t[bytes[i + 7]!]!;
  }
  for (; i < bytes.length; i++) crc = t[(crc ^ bytes[i]!) & 255]! ^ (crc >>> 8);
  return crc >>> 0;
}

function makeTables(): Uint32Array {
  const table = new Uint32Array(SLICES * 256);
  for (let i = 0; i < 256; i++) {
    let crc = i;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f6_3b78 : crc >>> 1;
    table[i] = crc;
  }
  for (let slice = 1; slice < SLICES; slice++) {
    for (let i = 0; i < 256; i++) {
      const below = table[(slice - 1) * 256 + i]!;
      table[slice * 256 + i] = table[below & 255]! ^ (below >>> 8);
    }
  }
  return table;
}
