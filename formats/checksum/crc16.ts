/** CRC-16 (polynomial 0x8005 reflected, ANSI), as ext4 group descriptors carry it under the `uninit_bg` feature. */

const table = Uint16Array.from({ length: 256 }, (_, i) => {
  let crc = i;
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0xa001 : crc >>> 1;
  return crc;
});

/** The register after `bytes`, started at `register` (ext4 starts at 0xffff). Unsigned 16-bit. */
export function crc16(bytes: Uint8Array, register: number): number {
  let crc = register;
  for (let i = 0; i < bytes.length; i++) crc = table[(crc ^ bytes[i]!) & 255]! ^ (crc >>> 8);
  return crc & 0xffff;
}
