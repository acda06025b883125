/** The places of the files of settings. */
import { existsSync } from 'node:fs';
import { dirname, isAbsolute, join, resolve } from 'node:path';
import { AccelError } from '../../base/error.ts';
import type { Environment } from '../terminal.ts';
import { PROJECT_FILE_VARIABLE } from './variables.ts';

/** Name of a file of settings. */
export const FILE_NAME = 'accel.yaml';

/** A file of settings that exists. */
export interface FoundFile {
  readonly kind: 'project' | 'user';
  readonly path: string;
  /** Whether the user chose it, so that it may set everything. */
  readonly trusted: boolean;
}

/** Surroundings of a search. */
export interface FileSearch {
  readonly env: Environment;
  /** The working directory, absolute. */
  readonly cwd: string;
  readonly platform: NodeJS.Platform;
}

/** The files that exist, in order of precedence. Throws `usage` where the variable names a file that is not there. */
export function findFiles(search: FileSearch): FoundFile[] {
  const user = userFilePath(search);
  const project = projectFile(search, user);
  return [
    ...(project === undefined ? [] : [project]),
    ...(user === undefined || user === project?.path || !existsSync(user)
      ? []
      : [{ kind: 'user', path: user, trusted: true } as const]),
  ];
}

/** The path of the user's file, whether it exists or not; undefined where no folder of the user is known. */
export function userFilePath({ env, platform }: Pick<FileSearch, 'env' | 'platform'>): string | undefined {
  const { XDG_CONFIG_HOME: config = '', HOME: home = '', APPDATA: data = '' } = env;
  if (isAbsolute(config)) return join(config, 'accel', FILE_NAME);
  if (platform === 'win32') return isAbsolute(data) ? join(data, 'accel', FILE_NAME) : undefined;
  if (!isAbsolute(home)) return undefined;
  const folder = platform === 'darwin' ? join('Library', 'Application Support') : '.config';
  return join(home, folder, 'accel', FILE_NAME);
}

/** The file that the variable names, or the nearest from the working directory upwards. */
function projectFile({ env, cwd }: FileSearch, user: string | undefined): FoundFile | undefined {
  const named = env[PROJECT_FILE_VARIABLE] ?? '';
  if (named === 'off') return undefined;
  if (named !== '') {
    const path = resolve(cwd, named);
    if (existsSync(path)) return { kind: 'project', path, trusted: true };
    throw new AccelError(
      'usage',
      `the environment variable ${PROJECT_FILE_VARIABLE} names a file that does not exist`,
      {
        expected: 'the path of a file, or off for none',
        found: named,
      },
    );
  }
  for (let folder = cwd; ; folder = dirname(folder)) {
    const path = join(folder, FILE_NAME);
    if (path !== user && existsSync(path)) return { kind: 'project', path, trusted: false };
    if (folder === dirname(folder)) return undefined;
  }
}
