/** A registry client before a scripted server, for tests. Waits are recorded instead of waited for. */
import { afterEach } from 'vitest';
import { blob, noise } from '../../contract.ts';
import type { RegistryOptions } from '../registry-options.ts';
import { openRegistry, type RegistryTarget } from '../registry-target.ts';
import { type Answer, type Script, type ScriptedServer, startScripted } from './scripted-server.ts';

const open: { server: ScriptedServer; target: RegistryTarget }[] = [];
afterEach(async () => {
  for (const { server, target } of open.splice(0)) {
    await target.close();
    await server.stop();
  }
});

/** A target for the repository `app` of a scripted server; both are closed after the test. */
export async function scripted(script: Script, options: RegistryOptions = {}) {
  const waits: number[] = [];
  const server = await startScripted(script);
  const target = await openRegistry(
    { registry: server.host, repository: 'app' },
    {
      plain: true,
      env: { HOME: '/nonexistent' },
      ...options,
      runtime: {
        random: () => 0.5,
        sleep: async (milliseconds, signal) => {
          signal?.throwIfAborted();
          waits.push(milliseconds);
        },
        ...options.runtime,
      },
    },
  );
  open.push({ server, target });
  return { server, target, waits };
}

/** The content that most scripts serve. */
export const bytes = noise(10_000, 1);
/** Its descriptor. */
export const descriptor = blob(bytes);
/** The answer for content that is not there. */
export const missing: Answer = {
  status: 404,
  body: '{"errors":[{"code":"BLOB_UNKNOWN","message":"blob unknown to registry"}]}',
};

/** Honours Range as object stores do. */
export function serve(content: Uint8Array, range: string | undefined): Answer {
  const match = /^bytes=(\d+)-(\d+)$/.exec(range ?? '');
  if (!match) return { body: content };
  const [start, end] = [Number(match[1]), Math.min(Number(match[2]), content.length - 1)];
  const headers = { 'content-range': `bytes ${start}-${end}/${content.length}` };
  return { status: 206, headers, body: content.subarray(start, end + 1) };
}
