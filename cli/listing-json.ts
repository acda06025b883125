/** The parts of the JSON document of `accel ls`: its head, and an object for each path. */
import type { FileStat } from '../reader/files.ts';
import { formatTime } from './listing.ts';
import { JSON_FORMAT_VERSION, jsonText } from './progress/json.ts';
import { printable } from './text.ts';

/** The document up to its entries; `]}` ends it. */
export function listingHead(reference: string, platform: string, path: string): string {
  const head = oneLine({ formatVersion: JSON_FORMAT_VERSION, reference, platform, ...named('path', path) });
  return `${head.slice(0, -1)},"entries":[`;
}

/** One path as a JSON object on one line. */
export function listingEntry(stat: FileStat): string {
  const isDevice = stat.type === 'character' || stat.type === 'block';
  return oneLine({
    ...named('path', stat.path),
    type: stat.type,
    mode: stat.mode.toString(8).padStart(4, '0'),
    uid: stat.uid,
    gid: stat.gid,
    size: stat.size,
    mtime: formatTime(stat.mtime),
    links: stat.links,
    inode: stat.inode,
    ...(isDevice ? { device: { major: stat.deviceMajor, minor: stat.deviceMinor } } : {}),
    ...(stat.target === undefined ? {} : named('target', stat.target)),
  });
}

/** A name of the image, one byte a character, as text; one that is not UTF-8 is escaped, and given byte for byte as well. */
function named(key: string, name: string): Record<string, string> {
  const bytes = Buffer.from(name, 'latin1');
  const text = bytes.toString('utf8');
  if (Buffer.from(text).equals(bytes)) return { [key]: text };
  return { [key]: printable(name, 'bytes'), [`${key}Base64`]: bytes.toString('base64') };
}

function oneLine(value: unknown): string {
  return jsonText(value, 0).trimEnd();
}
