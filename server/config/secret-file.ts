/** Reads the files that the configuration names for secrets. */
import { readFile, stat } from 'node:fs/promises';
import { AccelError } from '../../base/error.ts';
import { hideSecret } from '../../base/secrets.ts';

/** Most bytes of a secret. */
const MAX_BYTES = 64 * 1024;

/**
 * The secret in a file: its text without the line break at the end. From now on it is hidden in everything that is printed. Throws
 * `usage`, with the key of the configuration, for a file that is missing, unreadable, empty or too long.
 */
export async function readSecretFile(path: string, key: string): Promise<string> {
  const text = await read(path, key);
  const secret = text.replace(/\r?\n$/, '');
  if (secret === '') throw unusable(path, key, 'a secret', 'an empty file');
  hideSecret(secret);
  return secret;
}

async function read(path: string, key: string): Promise<string> {
  try {
    const { size } = await stat(path);
    if (size > MAX_BYTES) throw unusable(path, key, `at most ${MAX_BYTES} bytes`, `${size} bytes`);
    return await readFile(path, 'utf8');
  } catch (error) {
    if (error instanceof AccelError) throw error;
    throw unusable(path, key, 'a file that this process may read', (error as NodeJS.ErrnoException).code ?? 'an error');
  }
}

function unusable(path: string, key: string, expected: string, found: string): AccelError {
  return new AccelError('usage', 'a file of a secret cannot be used', { where: { key, file: path }, expected, found });
}
