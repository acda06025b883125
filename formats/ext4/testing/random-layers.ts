/** Arbitrary layers over a small set of names, so that the entries of a stack meet each other in every way. */
import fc from 'fast-check';
import { AccelError } from '../../../base/error.ts';
import { TarBuilder, type TarOptions } from '../../../fixtures/tar-builder.ts';
import { TarParser } from '../../tar/parser.ts';
import { TarApplier } from '../apply-tar.ts';
import { Ext4Image } from '../ext4-image.ts';
import { GROUP_BYTES } from '../layout.ts';

/** One entry of a random layer. */
export type RandomEntry =
  | { readonly kind: 'file'; readonly path: string; readonly size: number; readonly options: TarOptions }
  | { readonly kind: 'dir'; readonly path: string; readonly options: TarOptions }
  | { readonly kind: 'symlink'; readonly path: string; readonly target: string; readonly options: TarOptions }
  | { readonly kind: 'link'; readonly path: string; readonly target: string }
  | { readonly kind: 'device'; readonly path: string; readonly major: number; readonly minor: number }
  | { readonly kind: 'fifo'; readonly path: string }
  | { readonly kind: 'whiteout'; readonly path: string }
  | { readonly kind: 'opaque'; readonly path: string };

const directoryName = fc.constantFrom('a', 'b', 'c');
const leafName = fc.constantFrom('a', 'b', 'c', 'x', 'y', 'z');
const path = fc
  .tuple(fc.array(directoryName, { maxLength: 3 }), leafName)
  .map(([parents, name]) => [...parents, name].join('/'));
const directoryPath = fc.array(directoryName, { minLength: 1, maxLength: 3 }).map((parts) => parts.join('/'));

const time = fc.oneof(
  fc.constantFrom('0', '-1', '-0.5', '2147483647.999999999', '2147483648', '4294967296.000000001', '15032385535.5'),
  fc.nat(2_000_000_000).map(String),
);

const xattrs = fc.dictionary(
  fc.constantFrom('user.a', 'user.bb', 'trusted.c', 'security.d'),
  fc.uint8Array({ maxLength: 60 }).chain((value) => fc.constantFrom(value, new Uint8Array(300).fill(65))),
  { maxKeys: 3, noNullPrototype: true },
);

const options: fc.Arbitrary<TarOptions> = fc.record(
  {
    mode: fc.constantFrom(0o755, 0o700, 0o4711, 0o2775, 0o1777, 0o600, 0),
    uid: fc.constantFrom(0, 1000, 3_000_000, 2 ** 32 - 2),
    gid: fc.constantFrom(0, 5, 70_000),
    mtime: time,
    xattrs,
  },
  { requiredKeys: [], noNullPrototype: true },
);

const file = fc.record({
  kind: fc.constant('file' as const),
  path,
  size: fc.constantFrom(0, 1, 511, 4095, 4096, 4097, 9000),
  options,
});
const dir = fc.record({ kind: fc.constant('dir' as const), path: directoryPath, options });
const link = fc.record({ kind: fc.constant('link' as const), path, target: path });
const special = fc.oneof(
  fc.record({
    kind: fc.constant('device' as const),
    path,
    major: fc.constantFrom(0, 1, 255, 256, 4095),
    minor: fc.constantFrom(0, 3, 255, 256, 1_048_575),
  }),
  fc.record({ kind: fc.constant('fifo' as const), path }),
);
const whiteout = fc.oneof(
  fc.record({ kind: fc.constant('whiteout' as const), path }),
  fc.record({ kind: fc.constant('opaque' as const), path: fc.oneof(directoryPath, fc.constant('')) }),
);
/** Targets that lead to directories, upwards, in circles and nowhere. */
const symlink = fc.record({
  kind: fc.constant('symlink' as const),
  path,
  target: fc.constantFrom(
    'a',
    '/b',
    '../c',
    '/a/b',
    'a/../b',
    '../../../../c',
    'nowhere/x',
    'x'.repeat(59),
    'y'.repeat(60),
  ),
  options,
});

/** The settings of a random stack. */
export interface StackShape {
  /** Symbolic links, which later entries may then pass through. */
  readonly symlinks: boolean;
}

/** Two to four layers; what comes first in a layer is up to chance. */
export function randomStack(shape: StackShape): fc.Arbitrary<RandomEntry[][]> {
  const entry: fc.Arbitrary<RandomEntry> = fc.oneof(
    { weight: 4, arbitrary: file },
    { weight: 3, arbitrary: dir },
    { weight: 2, arbitrary: link },
    { weight: 1, arbitrary: special },
    { weight: 3, arbitrary: whiteout },
    ...(shape.symlinks ? [{ weight: 2, arbitrary: symlink }] : []),
  );
  return fc.array(fc.array(entry, { maxLength: 14 }), { minLength: 2, maxLength: 4 });
}

/** The entries as a tar. */
export function tarOf(entries: readonly RandomEntry[]): Uint8Array {
  const tar = new TarBuilder({ mtime: '1600000000.25' });
  entries.forEach((entry, i) => {
    switch (entry.kind) {
      case 'file':
        tar.file(entry.path, new Uint8Array(entry.size).fill(97 + (i % 26)), entry.options);
        break;
      case 'dir':
        tar.dir(`${entry.path}/`, entry.options);
        break;
      case 'symlink':
        tar.symlink(entry.path, entry.target, entry.options);
        break;
      case 'link':
        tar.link(entry.path, entry.target);
        break;
      case 'device':
        tar.device(entry.path, 'character', entry.major, entry.minor);
        break;
      case 'fifo':
        tar.fifo(entry.path);
        break;
      case 'whiteout':
        tar.whiteout(entry.path);
        break;
      case 'opaque':
        tar.opaque(entry.path);
        break;
    }
  });
  return tar.build();
}

/** The layer with its whiteouts in front, as the OCI image-spec advises writers. */
export function whiteoutsFirst(entries: readonly RandomEntry[]): RandomEntry[] {
  const isWhiteout = (entry: RandomEntry): boolean => entry.kind === 'whiteout' || entry.kind === 'opaque';
  return [...entries.filter(isWhiteout), ...entries.filter((entry) => !isWhiteout(entry))];
}

/**
 * The stack without the entries that a file system has to refuse, such as hard links to what is not there: chance alone
 * would leave few stacks whose upper layers are ever applied. None is refused in the order of `stack`, and none with the
 * whiteouts in front: where the two differ (a link to what a later whiteout removes) the rules say nothing.
 */
export function withoutRefused(stack: readonly (readonly RandomEntry[])[]): RandomEntry[][] {
  const kept = stack.map((layer) => [...layer]);
  for (;;) {
    const refused = firstRefused(kept) ?? firstRefused(kept.map(whiteoutsFirst));
    if (refused === undefined) return kept;
    const layer = kept.find((entries) => entries.includes(refused))!;
    layer.splice(layer.indexOf(refused), 1);
  }
}

function firstRefused(stack: readonly (readonly RandomEntry[])[]): RandomEntry | undefined {
  const image = new Ext4Image({ virtualSize: GROUP_BYTES });
  const sink = { beginRun: () => undefined, write: () => undefined };
  for (const entries of stack) {
    image.beginLayer();
    const applier = new TarApplier(image, sink, () => undefined);
    const parser = new TarParser(applier);
    try {
      parser.push(tarOf(entries));
      parser.end();
    } catch (error) {
      if (!(error instanceof AccelError) || error.code === 'internal') throw error;
      return entries[applier.entries - 1];
    }
  }
  return undefined;
}
