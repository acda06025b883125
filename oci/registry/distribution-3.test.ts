/** The storage contract on distribution 3, the successor of docker-registry 2.8. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startRegistry, type TestRegistry } from '../../tests/support/registry.ts';
import { describeWith } from '../../tests/support/tools.ts';
import { fetchBytes } from '../content.ts';
import { blob, noise, storageContract } from '../contract.ts';
import { openRegistry, type RegistryTarget } from './registry-target.ts';

/** Nothing of the machine's own credentials and proxies. */
const env = { HOME: '/nonexistent', PATH: process.env.PATH };

describeWith({ tools: ['distribution-3'] }, 'distribution 3 over HTTP', () => {
  let registry: TestRegistry;
  beforeAll(async () => {
    registry = await startRegistry({ program: 'distribution-3' });
  });
  afterAll(() => registry?.stop());

  const open = (repository: string, more: { chunkSize?: number; warn?: (text: string) => void } = {}) =>
    openRegistry({ registry: registry.host, repository }, { plain: true, env, ...more });

  storageContract('distribution 3', async () => ({ target: await open('contract/plain') }));

  storageContract('distribution 3, chunks of 300 000 bytes', async () => ({
    target: await open('contract/chunks', { chunkSize: 300_000 }),
  }));

  test.each([undefined, 100_000])(
    'killed in the middle of an upload, chunk size %s: pushed all the same',
    async (chunkSize) => {
      const warnings: string[] = [];
      const warn = (text: string): void => void warnings.push(text);
      const target: RegistryTarget = await open('killed', { warn, ...(chunkSize === undefined ? {} : { chunkSize }) });
      const bytes = noise(1_000_000, chunkSize ?? 1);
      let opened = 0;
      const source = {
        async *open() {
          opened += 1;
          for (let at = 0; at < bytes.length; at += 50_000) {
            if (at === 450_000 && opened === 1) await registry.restart();
            yield bytes.slice(at, at + 50_000);
          }
        },
      };
      expect(await target.push(blob(bytes), source)).toBe('pushed');
      expect(opened).toBeGreaterThan(1);
      expect(Buffer.from(await fetchBytes(target, blob(bytes), 2e6)).equals(bytes)).toBe(true);
      expect(warnings).toEqual([]);
    },
  );
});
