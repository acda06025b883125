/**
 * The tar around the ZFile of a full layer (docs/formats.md §4): `pax header | its record | file header | ZFile`, then
 * zeros. Its numbers are padded with spaces, not zeros, and one field is left empty: that is how the reference's tools
 * write it, and the runtime finds the ZFile by these bytes.
 */
import { AccelError } from '../../base/error.ts';
import { struct, text } from '../bytes/struct.ts';

/** Bytes of a tar block. */
const TAR_BLOCK = 512;
/** Bytes before the ZFile. */
export const COMMIT_TAR_HEAD_SIZE: number = 3 * TAR_BLOCK;
const CHECKSUM_AT = 148;
const CHECKSUM_SIZE = 8;

/** A ustar header as plain text fields; the reference's numbers are no proper octal fields. */
export const commitHeaderStruct = struct('tar header of overlaybd.commit', TAR_BLOCK, {
  name: text(100),
  mode: text(8),
  uid: text(8),
  gid: text(8),
  size: text(12),
  mtime: text(12),
  checksum: text(8),
  typeflag: text(1),
  linkname: text(100),
  magic: text(6),
  version: text(2),
  uname: text(32),
  gname: text(32),
  devmajor: text(8),
  devminor: text(8),
  prefix: text(155),
  padding: text(12),
});

/** The 1536 bytes before a ZFile of `zfileSize` bytes. */
export function commitTarHead(zfileSize: number): Uint8Array {
  const record = Buffer.from(paxRecord('size', String(zfileSize)), 'latin1');
  const out = new Uint8Array(COMMIT_TAR_HEAD_SIZE);
  const common = { magic: 'ustar', version: '00' };
  const pax = { ...common, name: 'overlaybd.pax', typeflag: 'x', size: octal(record.length, 11) };
  commitHeaderStruct.write(out, 0, pax);
  out.set(record, TAR_BLOCK);
  commitHeaderStruct.write(out, 2 * TAR_BLOCK, {
    ...common,
    name: 'overlaybd.commit',
    typeflag: '0',
    mode: octal(0o100644, 6),
    uid: octal(0, 6),
    gid: octal(0, 6),
    // The pax record has the size; a ustar field would end at 8 GiB.
    size: octal(0, 11),
    mtime: octal(0, 11),
    uname: 'root',
    gname: 'root',
  });
  for (const at of [0, 2 * TAR_BLOCK]) {
    const header = out.subarray(at, at + TAR_BLOCK);
    header.set(Buffer.from(octal(checksum(header), 6), 'latin1'), CHECKSUM_AT);
  }
  return out;
}

/** The bytes after a ZFile of `zfileSize` bytes: zeros to the next tar block, and two blocks of zeros. */
export function commitTarTail(zfileSize: number): Uint8Array {
  return new Uint8Array(((TAR_BLOCK - (zfileSize % TAR_BLOCK)) % TAR_BLOCK) + 2 * TAR_BLOCK);
}

/**
 * Where the ZFile lies in a layer blob that begins with `bytes` (at least 1536). Throws `tar-invalid` unless it is the
 * tar that {@link commitTarHead} describes.
 */
export function parseCommitTarHead(bytes: Uint8Array): { zfileOffset: number; zfileSize: number } {
  if (bytes.length < COMMIT_TAR_HEAD_SIZE) throw invalid('length', COMMIT_TAR_HEAD_SIZE, bytes.length);
  for (const at of [0, 2 * TAR_BLOCK]) {
    const header = bytes.subarray(at, at + TAR_BLOCK);
    const { magic, version, checksum: stored } = commitHeaderStruct.read(header);
    if (magic !== 'ustar' || version !== '00') throw invalid('magic', 'ustar 00', `${magic} ${version}`);
    if (Number.parseInt(stored.trim(), 8) !== checksum(header))
      throw invalid('checksum', octal(checksum(header), 6).trim(), stored.trim());
  }
  const pax = commitHeaderStruct.read(bytes, 0);
  const file = commitHeaderStruct.read(bytes, 2 * TAR_BLOCK);
  if (pax.typeflag !== 'x') throw invalid('type of its first header', 'x', pax.typeflag);
  if (file.typeflag !== '0' || file.name !== 'overlaybd.commit')
    throw invalid('file', 'overlaybd.commit', `${file.name} (type ${file.typeflag})`);
  const zfileSize = paxSize(bytes.subarray(TAR_BLOCK, 2 * TAR_BLOCK), Number.parseInt(pax.size.trim(), 8));
  return { zfileOffset: COMMIT_TAR_HEAD_SIZE, zfileSize };
}

/** The value of the `size` record among the `length` bytes of records in `block`. */
function paxSize(block: Uint8Array, length: number): number {
  if (!(length > 0 && length <= TAR_BLOCK)) throw invalid('pax size', `1 to ${TAR_BLOCK} bytes`, length);
  const records = Buffer.from(block.buffer, block.byteOffset, length).toString('latin1');
  for (let at = 0; at < records.length; ) {
    const [, digits, key, value] = /^(\d{1,3}) ([^=\n]+)=([^\n]*)\n/.exec(records.slice(at)) ?? [];
    if (digits === undefined || paxRecord(key!, value!).length !== Number(digits))
      throw invalid('pax record', 'LENGTH KEY=VALUE', records.slice(at, at + 40));
    if (key === 'size' && /^\d{1,15}$/.test(value!)) return Number(value);
    at += Number(digits);
  }
  throw invalid('pax record', 'a size', 'none');
}

/** `LENGTH KEY=VALUE\n`, where the length counts itself. */
function paxRecord(key: string, value: string): string {
  const rest = ` ${key}=${value}\n`;
  let length = rest.length + 1;
  while (String(length).length + rest.length !== length) length = String(length).length + rest.length;
  return `${length}${rest}`;
}

/** `value` in octal, padded with spaces in front to `width` and one behind. */
function octal(value: number, width: number): string {
  return `${value.toString(8).padStart(width)} `;
}

/** Sum of the header's bytes, its checksum field counted as spaces. */
function checksum(header: Uint8Array): number {
  let sum = 32 * CHECKSUM_SIZE;
  for (let i = 0; i < header.length; i++) if (i < CHECKSUM_AT || i >= CHECKSUM_AT + CHECKSUM_SIZE) sum += header[i]!;
  return sum;
}

function invalid(what: string, expected: string | number, found: string | number): AccelError {
  return new AccelError('tar-invalid', `the layer blob is no overlaybd tar: wrong ${what}`, { expected, found });
}
