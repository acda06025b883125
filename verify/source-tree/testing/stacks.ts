/** Random stacks of layers: whiteouts, links of both kinds and replacements in any order. */
import fc from 'fast-check';
import { TarBuilder } from '../../../fixtures/tar-builder.ts';

type Kind = 'file' | 'dir' | 'symlink' | 'link' | 'device' | 'fifo' | 'whiteout' | 'opaque';

/** One entry of a random layer. */
export interface Step {
  readonly kind: Kind;
  readonly path: readonly string[];
  readonly target: readonly string[];
  readonly absolute: boolean;
  readonly mode: number;
  readonly seconds: number;
  readonly nanoseconds: number;
  readonly xattr: string | undefined;
}

const name = fc.constantFrom('a', 'b', 'c', 'd');
const step: fc.Arbitrary<Step> = fc.record({
  kind: fc.constantFrom<Kind>('file', 'file', 'dir', 'dir', 'symlink', 'link', 'device', 'fifo', 'whiteout', 'opaque'),
  path: fc.array(name, { minLength: 1, maxLength: 3 }),
  target: fc.array(fc.oneof(name, fc.constant('..')), { minLength: 1, maxLength: 3 }),
  absolute: fc.boolean(),
  mode: fc.nat(0o7777),
  seconds: fc.integer({ min: -1000, max: 9_999_999_999 }),
  nanoseconds: fc.constantFrom(0, 1, 999_999_999),
  xattr: fc.option(fc.constantFrom('user.a', 'user.b', 'security.c'), { nil: undefined }),
});

/** Up to three layers of a few entries each, with names from so small a set that they meet. */
export const stacks: fc.Arbitrary<Step[][]> = fc.array(fc.array(step, { maxLength: 9 }), {
  minLength: 1,
  maxLength: 3,
});

/** The tars of a stack. */
export function buildStack(stack: readonly (readonly Step[])[]): Uint8Array[] {
  return stack.map(build);
}

function build(steps: readonly Step[]): Uint8Array {
  const tar = new TarBuilder();
  for (const { kind, path, target, absolute, mode, seconds, nanoseconds, xattr } of steps) {
    const at = path.join('/');
    const options = {
      mode,
      mtime: { seconds, nanoseconds },
      uid: mode,
      gid: seconds & 0xffff,
      ...(xattr === undefined ? {} : { xattrs: { [xattr]: `${mode}` } }),
    };
    if (kind === 'file') tar.file(at, `${at} ${mode}`, options);
    else if (kind === 'dir') tar.dir(`${at}/`, options);
    else if (kind === 'symlink') tar.symlink(at, `${absolute ? '/' : ''}${target.join('/')}`, options);
    else if (kind === 'link') tar.link(at, target.filter((part) => part !== '..').join('/') || 'a', options);
    else if (kind === 'device') tar.device(at, 'character', mode & 0xff, mode >> 8, options);
    else if (kind === 'fifo') tar.fifo(at, options);
    else if (kind === 'whiteout') tar.whiteout(at);
    else tar.opaque(at);
  }
  return tar.build();
}
