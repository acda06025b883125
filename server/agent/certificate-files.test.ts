import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { run, withTempDirectory } from '../../tests/support/tools.ts';
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

/** An authority as openssl makes it: the key in the form of RFC 5915, and a name of its own for the key. */
async function foreignAuthority(folder: string, curve: string): Promise<void> {
  await run('openssl', ['ecparam', '-genkey', '-noout', '-name', curve, '-out', join(folder, 'ca-key.pem')]);
  const names = [
    '-subj',
    '/CN=another',
    '-days',
    '2',
    '-addext',
    'subjectKeyIdentifier=01:02:03:04',
    '-addext',
    'authorityKeyIdentifier=none',
  ];
  const files = ['-key', join(folder, 'ca-key.pem'), '-out', join(folder, 'ca.pem')];
  await run('openssl', ['req', '-x509', '-new', ...names, ...files]);
}

it('takes the authority of another program', () =>
  withTempDirectory(async (folder) => {
    await foreignAuthority(folder, 'prime256v1');
    await writeCertificateFiles({ folder, nodes: ['192.0.2.1:65002'], days: 1 });
    const leaf = join(folder, '192.0.2.1-65002/cert.pem');
    const trusted = ['-CAfile', join(folder, 'ca.pem'), '-verify_ip', '192.0.2.1'];
    expect((await run('openssl', ['verify', ...trusted, leaf])).stdout.toString('utf8')).toContain(': OK');
  }));

it('says that an authority has another curve, or no key', () =>
  withTempDirectory(async (folder) => {
    await foreignAuthority(folder, 'secp384r1');
    const request = { folder, nodes: ['192.0.2.1:65002'], days: 1 };
    expect(await writeCertificateFiles(request).catch((one) => one)).toMatchObject({
      code: 'usage',
      found: 'ec, secp384r1',
    });
    await writeFile(join(folder, 'ca-key.pem'), 'none');
    expect(await writeCertificateFiles(request).catch((one) => one)).toMatchObject({ code: 'usage' });
  }));
