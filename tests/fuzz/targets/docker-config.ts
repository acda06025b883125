/** Damaged files with registry credentials: their secrets never come out in a message. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { AccelError } from '../../../base/error.ts';
import { findCredentials } from '../../../oci/registry/credentials.ts';
import { type Json, jsonBytes, mutateJson } from '../mutate-json.ts';
import { demand, type FuzzTarget } from '../target.ts';

const SECRET = 'hunter2-secret';
const AUTH = Buffer.from(`user:${SECRET}`).toString('base64');
const CONFIG: Json = {
  auths: {
    'registry.example.com': { auth: AUTH },
    'https://registry.example.com/v2/': { username: 'user', password: SECRET },
    'registry.example.com/team': { identitytoken: SECRET, registrytoken: '' },
  },
  credHelpers: { 'other.example.com': 'none' },
  HttpHeaders: { 'User-Agent': 'Docker' },
};

/** The reader of Docker's and podman's files. */
export const dockerConfigTarget: FuzzTarget = {
  name: 'docker-config',
  codes: ['usage'],
  cases: 600,
  async open() {
    const directory = await mkdtemp(join(tmpdir(), 'accel-fuzz-'));
    const file = join(directory, 'config.json');
    // No PATH: a damaged helper's name leads to no program.
    const env = { DOCKER_CONFIG: directory, HOME: directory, PATH: directory };
    return {
      make: (random) => ({ bytes: jsonBytes(mutateJson(CONFIG, random), random), mended: true }),
      async check({ bytes }) {
        await writeFile(file, bytes);
        const said: string[] = [];
        try {
          const found = await findCredentials('registry.example.com', 'team/app', {
            env,
            warn: (text) => said.push(text),
          });
          for (const value of Object.values(found ?? {}))
            demand(typeof value === 'string', `a secret of ${typeof value}`);
        } catch (error) {
          if (error instanceof AccelError)
            said.push(JSON.stringify([error.message, error.where, error.found, error.cause]));
          throw error;
        } finally {
          demand(!said.join().includes(SECRET) && !said.join().includes(AUTH), `a secret was said: ${said.join()}`);
        }
      },
      close: () => rm(directory, { recursive: true, force: true }),
    };
  },
};
