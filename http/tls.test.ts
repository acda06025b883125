import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { rootCertificates } from 'node:tls';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { run, type TempDirectory, tempDirectory } from '../tests/support/tools.ts';
import { loadTls, splitClientCert } from './tls.ts';
import { systemAuthorities } from './trust-store.ts';

describe('the two files of a client certificate', () => {
  test.each([
    ['cert.pem:key.pem', 'cert.pem', 'key.pem'],
    ['/a/cert.pem:/a/key.pem', '/a/cert.pem', '/a/key.pem'],
    ['C:\\certs\\a.pem:C:\\certs\\a.key', 'C:\\certs\\a.pem', 'C:\\certs\\a.key'],
    ['C:/certs/a.pem:D:/certs/a.key', 'C:/certs/a.pem', 'D:/certs/a.key'],
    ['a.pem:D:\\a.key', 'a.pem', 'D:\\a.key'],
    ['c:\\a.pem:a.key', 'c:\\a.pem', 'a.key'],
    ['\\\\server\\share\\a.pem:Z:\\a.key', '\\\\server\\share\\a.pem', 'Z:\\a.key'],
    ['a.pem:/keys/a.key', 'a.pem', '/keys/a.key'],
    ['c:/a.key', 'c', '/a.key'],
    ['/odd:name/a.pem:/b.key', '/odd:name/a.pem', '/b.key'],
  ])('%s', (text, cert, key) => expect(splitClientCert(text)).toEqual({ cert, key }));

  test.each(['cert.pem', 'cert.pem:', ':key.pem', 'C:\\certs\\a.pem', ':', ''])('%j is not a pair', (text) => {
    expect(() => splitClientCert(text)).toThrow(expect.objectContaining({ code: 'usage', found: text }));
  });
});

describe('the authorities to trust', () => {
  let directory: TempDirectory;
  const own = '-----BEGIN CERTIFICATE-----\nT3du\n-----END CERTIFICATE-----';
  const other = '-----BEGIN CERTIFICATE-----\nT3RoZXI=\n-----END CERTIFICATE-----';
  const file = (name: string) => path.join(directory.path, name);
  const warnings: string[] = [];
  const read = (env: Record<string, string>, sources?: Parameters<typeof systemAuthorities>[2]) =>
    systemAuthorities(env, (message) => warnings.push(message), sources);

  beforeAll(async () => {
    directory = await tempDirectory();
    await writeFile(file('own.pem'), `# a comment\n${own}\n\n${rootCertificates[0]}\n`);
    await writeFile(file('other.pem'), other);
    await writeFile(file('empty.pem'), 'nothing');
    await run('mkfifo', [file('fifo.crt')]);
  });
  afterAll(() => directory.remove());

  test('reads the usual files if Node cannot read the system store, and stops at the first with certificates', async () => {
    const bundles = [file('none.pem'), file('empty.pem'), file('own.pem'), file('other.pem')];
    const found = await read({}, { reader: null, bundles });
    expect(found).toContain(own);
    expect(found).not.toContain(other);
    expect(found.length).toBe(new Set([...rootCertificates, own]).size);
  });

  test('uses Node’s reader of the system store if there is one', async () => {
    const reader = (type: string) => (type === 'system' ? [other] : []);
    expect(await read({}, { reader, bundles: [file('own.pem')] })).toContain(other);
  });

  test('falls back to the files if the store cannot be read', async () => {
    const reader = () => {
      throw new Error('no keychain');
    };
    expect(await read({}, { reader, bundles: [file('own.pem')] })).toContain(own);
  });

  test('SSL_CERT_FILE replaces the store, NODE_EXTRA_CA_CERTS adds to it', async () => {
    const env = { SSL_CERT_FILE: file('own.pem'), NODE_EXTRA_CA_CERTS: file('other.pem') };
    expect(await read(env, { reader: null, bundles: [] })).toEqual(expect.arrayContaining([own, other]));
  });

  test.each(['SSL_CERT_FILE', 'NODE_EXTRA_CA_CERTS'])(
    'an unreadable file in %s causes a warning with its name',
    async (name) => {
      for (const unreadable of ['missing.pem', 'fifo.crt']) {
        warnings.length = 0;
        const found = await read({ [name]: file(unreadable) }, { reader: null, bundles: [] });
        expect(found.length).toBe(new Set(rootCertificates).size);
        expect(warnings).toEqual([expect.stringContaining(name)]);
      }
    },
  );

  test('SSL_CERT_FILE=/dev/null is an empty store', async () => {
    warnings.length = 0;
    const found = await read({ SSL_CERT_FILE: '/dev/null' }, { reader: null, bundles: [file('own.pem')] });
    expect(found.length).toBe(new Set(rootCertificates).size);
    expect(warnings).toEqual([]);
  });

  test('a FIFO among the usual files is skipped', async () => {
    expect(await read({}, { reader: null, bundles: [file('fifo.crt'), file('own.pem')] })).toContain(own);
  });

  test.each([
    ['rootCa', () => ({ rootCa: file('fifo.crt') })],
    ['certDir', () => ({ certDir: directory.path })],
    ['clientCert', () => ({ clientCert: `${file('own.pem')}:${file('fifo.crt')}` })],
  ])('a FIFO for %s is an error and not waited for', async (_, options) => {
    await expect(loadTls(options(), {})).rejects.toMatchObject({
      code: 'usage',
      where: { path: file('fifo.crt') },
      expected: 'a regular file',
      found: 'a FIFO',
    });
  });

  test('includes the bundle of this machine', async () => {
    const bundle = await readFile('/etc/ssl/certs/ca-certificates.crt', 'utf8').catch(() => '');
    const first = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/.exec(bundle)?.[0];
    const found = await read({});
    expect(found).toEqual(expect.arrayContaining(first === undefined ? [] : [first]));
  });
});
