/** Builds another commit of this repository, to be measured beside the one that runs. */
import { access, mkdir, readFile, rename, rm, symlink } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { run } from '../tests/support/tools.ts';
import { FOLDER_PREFIX } from './make-image.ts';

const ROOT = resolve(import.meta.dirname, '..', '..');

/** A built commit. */
export interface OtherBuild {
  /** The commit, abbreviated. */
  readonly commit: string;
  /** Its command line. */
  readonly cli: string;
}

/** The commit that a name refers to, abbreviated; throws for a name that git does not know. */
export async function commitOf(ref: string): Promise<string> {
  const { stdout } = await run('git', ['-C', ROOT, 'rev-parse', '--short=12', '--verify', `${ref}^{commit}`]);
  return stdout.toString('utf8').trim();
}

/** Whether the files differ from the commit that is checked out. */
export async function isChanged(): Promise<boolean> {
  const { stdout } = await run('git', ['-C', ROOT, 'status', '--porcelain', '--untracked-files=no']);
  return stdout.length > 0;
}

/** Builds a commit in `directory`, once: with the packages that are installed here, or its own where it locks others. */
export async function buildOther(directory: string, ref: string): Promise<OtherBuild> {
  const commit = await commitOf(ref);
  const folder = join(directory, `${FOLDER_PREFIX}build-${commit}`);
  const build = { commit, cli: join(folder, 'dist', 'program', 'main.js') };
  const isThere = await access(folder).then(
    () => true,
    () => false,
  );
  if (isThere) return build;
  const unfinished = `${folder}.unfinished`;
  await rm(unfinished, { recursive: true, force: true });
  await mkdir(unfinished, { recursive: true });
  const archive = `${unfinished}.tar`;
  await run('git', ['-C', ROOT, 'archive', '--format=tar', '-o', archive, commit]);
  await run('tar', ['-xf', archive, '-C', unfinished]);
  await rm(archive);
  const locked = (root: string) => readFile(join(root, 'package-lock.json'), 'utf8');
  if ((await locked(ROOT)) === (await locked(unfinished)))
    await symlink(join(ROOT, 'node_modules'), join(unfinished, 'node_modules'));
  else await run('npm', ['ci', '--ignore-scripts'], { cwd: unfinished });
  await run('npm', ['run', 'build'], { cwd: unfinished });
  await rename(unfinished, folder);
  return build;
}
