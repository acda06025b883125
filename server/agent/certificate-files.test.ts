import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { withTempDirectory } from '../../tests/support/tools.ts';
import { writeCertificateFiles } from './certificate-files.ts';

it('keeps the authority over calls', () =>
  withTempDirectory(async (folder) => {
    await writeCertificateFiles({ folder, nodes: ['192.0.2.1:65002'], days: 30 });
    const authority = await readFile(join(folder, 'ca.pem'), 'utf8');
    const written = await writeCertificateFiles({ folder, nodes: ['192.0.2.2:65002'], days: 30 });
    expect(written.map((path) => path.slice(folder.length + 1))).toEqual([
      '192.0.2.2-65002/ca.pem',
      '192.0.2.2-65002/cert.pem',
      '192.0.2.2-65002/key.pem',
    ]);
    expect(await readFile(join(folder, '192.0.2.2-65002/ca.pem'), 'utf8')).toBe(authority);
  }));

it.each(['ca.pem', 'ca-key.pem'])('makes no second authority where %s is missing', (name) =>
  withTempDirectory(async (folder) => {
    await writeCertificateFiles({ folder, nodes: ['192.0.2.1:65002'], days: 30 });
    await rm(join(folder, name));
    const error = await writeCertificateFiles({ folder, nodes: ['192.0.2.2:65002'], days: 30 }).catch((one) => one);
    expect(error).toMatchObject({ code: 'usage', found: `no ${name}` });
  }),
);
