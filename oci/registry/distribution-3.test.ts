/** The storage contract on distribution 3, the successor of docker-registry 2.8. */
import { afterAll, beforeAll } from 'vitest';
import { startRegistry, type TestRegistry } from '../../tests/support/registry.ts';
import { describeWith } from '../../tests/support/tools.ts';
import { storageContract } from '../contract.ts';
import { openRegistry } from './registry-target.ts';
import { killedUploads } from './testing/killed-upload.ts';

/** Nothing of the machine's own credentials and proxies. */
const env = { HOME: '/nonexistent', PATH: process.env.PATH };

describeWith({ tools: ['distribution-3'] }, 'distribution 3 over HTTP', () => {
  let registry: TestRegistry;
  beforeAll(async () => {
    registry = await startRegistry({ program: 'distribution-3' });
  });
  afterAll(() => registry?.stop());

  const open = (repository: string, more: { chunkSize?: number } = {}) =>
    openRegistry({ registry: registry.host, repository }, { plain: true, env, ...more });

  storageContract('distribution 3', async () => ({ target: await open('contract/plain') }));

  storageContract('distribution 3, chunks of 300 000 bytes', async () => ({
    target: await open('contract/chunks', { chunkSize: 300_000 }),
  }));

  killedUploads(() => registry);
});
