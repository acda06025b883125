/** Finds the parts of a device that a start reads, in the order in which it reads them. */

import type { FrontRange } from '../../../formats/lsmt/rearrange.ts';
import type { ImageConfig } from '../../../oci/config.ts';
import type { PrefetchLine } from '../../../prefetch/lines.ts';
import { resolvePrefetch } from '../../../prefetch/resolve-list.ts';
import { findStartupFiles } from '../../../prefetch/startup/startup.ts';
import type { StackedDevice } from '../../../reader/block-device.ts';
import { type ImageFiles, openFiles } from '../../../reader/files.ts';

/**
 * Files that nearly every container reads, whatever its command is: the runtime looks users up, programs their libraries, names
 * and time zone, and whoever looks into it starts a shell.
 */
const COMMON = [
  '/etc/passwd',
  '/etc/group',
  '/etc/ld.so.cache',
  '/etc/os-release',
  '/etc/nsswitch.conf',
  '/etc/host.conf',
  '/etc/localtime',
];
const SHELL = '/bin/sh';
/** Bytes of a directory that is put at the front as a whole; of a larger one, the blocks of the look-ups are. */
const LISTED_DIRECTORY = 65_536;

/** The source of the ranges: a list, or else the command of the config. */
export interface StartupSource {
  readonly lines: readonly PrefetchLine[] | undefined;
  readonly config: ImageConfig;
}

/**
 * The ranges of a start: the metadata that mounting and looking up its files reads, then what every start reads, then the
 * files of the list, or of the command. Leaves out files that the image lacks.
 */
export async function startupRanges(
  device: StackedDevice,
  { lines, config }: StartupSource,
  signal: AbortSignal,
): Promise<FrontRange[]> {
  const files = await openFiles({ device });
  const shell = await findStartupFiles(files, { ...config, config: { Cmd: [SHELL] } });
  const command = lines === undefined ? await findStartupFiles(files, config) : { groups: [] };
  const paths = [shell, command].flatMap(({ groups }) => groups.flatMap((group) => group.paths));
  const named = [...COMMON, ...paths].map((path) => ({ number: 0, path }));
  // A common file that the image lacks is looked for at each start all the same: the metadata of the attempt counts.
  const { metadata, items } = await resolvePrefetch(device, [...named, ...(lines ?? [])], signal);
  const wanted = items.flatMap((item) => item.files);
  const onTheWay = wanted.map(({ path }) => path);
  return [...metadata, ...(await directoryRanges(files, onTheWay)), ...wanted.flatMap(({ ranges }) => ranges)];
}

/** All blocks of the directories on the way to some files: who starts there often lists them, as Python does. */
async function directoryRanges(files: ImageFiles, paths: readonly string[]): Promise<FrontRange[]> {
  // accel's reader looks whether lost+found is empty when it lists the root.
  const directories = new Set(['/', '/lost+found']);
  for (const path of paths)
    for (let at = path.lastIndexOf('/'); at > 0; at = path.lastIndexOf('/', at - 1)) directories.add(path.slice(0, at));
  const ranges: FrontRange[] = [];
  for (const directory of directories) {
    const stat = await files.find(directory);
    if (stat?.type === 'directory' && stat.size <= LISTED_DIRECTORY) ranges.push(...(await files.extents(stat)));
  }
  return ranges;
}

/** The ranges by the layer that has them, `count` layers; what no layer maps is left out. */
export function rangesByLayer(
  device: Pick<StackedDevice, 'segments'>,
  ranges: readonly FrontRange[],
  count: number,
): FrontRange[][] {
  const layers = Array.from({ length: count }, (): FrontRange[] => []);
  for (const range of ranges)
    for (const { layer, zeroed, offset, length } of device.segments(range.offset, range.length))
      if (!zeroed) layers[layer]!.push({ offset, length });
  return layers;
}
