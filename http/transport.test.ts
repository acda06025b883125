import { createServer } from 'node:http';
import { connect } from 'node:net';
import { describe, expect, test } from 'vitest';
import { rejects } from '../oci/contract.ts';
import { openTarget } from '../oci/open.ts';
import { parseReference } from '../oci/reference.ts';
import { isLoopback } from '../oci/registry/connection.ts';
import { responseError } from '../oci/registry/errors.ts';
import { openRegistry } from '../oci/registry/registry-target.ts';
import { startScripted } from '../oci/registry/testing/scripted-server.ts';
import { listen } from '../tests/support/loopback.ts';
import { makeCertificates, startRegistry } from '../tests/support/registry.ts';
import { describeWith, tempDirectory } from '../tests/support/tools.ts';
import { redactUrl } from './redact.ts';

/** A proxy that leads every host to `to` (`host:port`), and says what it was asked for. */
async function startProxy(to: string) {
  const asked: string[] = [];
  const [host, port] = to.split(':');
  const server = createServer((request, response) => {
    asked.push(`${request.method} ${request.url}`);
    response.writeHead(404).end();
  });
  server.on('connect', (request, socket) => {
    asked.push(`CONNECT ${request.url}`);
    const onward = connect(Number(port), host, () => {
      socket.write('HTTP/1.1 200 OK\r\n\r\n');
      socket.pipe(onward).pipe(socket);
    });
    onward.on('error', () => socket.destroy());
    socket.on('error', () => onward.destroy());
  });
  const { host: own, stop } = await listen(server);
  return {
    url: `http://${own}`,
    asked,
    stop,
  };
}

describe('proxies', () => {
  test('HTTP_PROXY leads there; NO_PROXY and loopback addresses do not', async () => {
    const registry = await startScripted(() => ({ status: 404 }));
    const proxy = await startProxy(registry.host);
    const ask = async (host: string, env: Record<string, string>) => {
      const target = await openRegistry({ registry: host, repository: 'x' }, { plain: true, env, runtime: FAST });
      await target.resolve('v1').catch(() => undefined);
      await target.close();
      return proxy.asked.splice(0).length;
    };
    const env = { HOME: '/nonexistent', HTTP_PROXY: proxy.url };
    expect(await ask('registry.invalid', env)).toBeGreaterThan(0);
    expect(await ask('registry.invalid', { ...env, NO_PROXY: 'registry.invalid' })).toBe(0);
    expect(await ask(registry.host, env)).toBe(0);
    proxy.stop();
    await registry.stop();
  });
});

describeWith({ tools: ['docker-registry', 'openssl'] }, 'HTTPS through a proxy', () => {
  test('CONNECT, then TLS with our authority', async () => {
    const directory = await tempDirectory();
    const files = await makeCertificates(directory.path);
    const registry = await startRegistry({ tls: files });
    const proxy = await startProxy(registry.host);
    // The certificate is for localhost: the name that the proxy resolves differs, so verification must object to it.
    const env = { HOME: '/nonexistent', https_proxy: proxy.url };
    const options = { rootCa: files.ca, env, runtime: FAST };
    const target = await openRegistry({ registry: 'registry.invalid', repository: 'x' }, options);
    const error = await rejects(target.resolve('v1'), 'registry-unreachable');
    expect(proxy.asked[0]).toBe('CONNECT registry.invalid:443');
    expect(String(error.found)).toMatch(/altnames|ALTNAME/i);
    const trusting = await openRegistry(
      { registry: 'registry.invalid', repository: 'x' },
      { ...options, insecure: true },
    );
    await rejects(trusting.resolve('v1'), 'not-found');
    await target.close();
    await trusting.close();
    proxy.stop();
    await registry.stop();
    await directory.remove();
  });
});

const FAST = { sleep: async () => undefined };

describe('unreachable', () => {
  test('a name that does not resolve is reported at once', async () => {
    const target = await openTarget(parseReference('registry.invalid/x'), {
      env: { HOME: '/nonexistent' },
      runtime: FAST,
    });
    const error = await rejects(target.resolve('v1'), 'registry-unreachable');
    expect(error.where.url).toContain('https://registry.invalid/');
    expect(error.hint).toMatch(/DNS|network/);
    await target.close?.();
  });

  test.each([
    ['localhost', true],
    ['localhost:5000', true],
    ['127.0.0.1', true],
    ['127.9.9.9:1', true],
    ['[::1]:5000', true],
    ['localhost.evil.example', false],
    ['127.0.0.1.evil.example', false],
    ['10.0.0.1', false],
  ])('%s is a loopback host: %s', (host, expected) => expect(isLoopback(host)).toBe(expected));
});

describe('errors', () => {
  test('URLs without user, password and query', () => {
    expect(redactUrl(new URL('https://u:p@h.io:8443/a/b?X-Sig=secret#f'))).toBe('https://h.io:8443/a/b?…');
    expect(redactUrl(new URL('https://h.io/'))).toBe('https://h.io/');
  });

  test.each([
    ['{"errors":[{"code":"A","message":"m"},{"code":"B","message":"n","detail":"d"}]}', 'HTTP 400: A: m; B: n (d)'],
    ['{"errors":[]}', 'HTTP 400 without a body'],
    ['{"errors":[null,5,{}]}', 'HTTP 400: ERROR: no message'],
    ['{"error":"invalid_scope"}', 'HTTP 400: invalid_scope'],
    ['plain\u0007 text\r\n', 'HTTP 400: plain text'],
    ['', 'HTTP 400 without a body'],
    ['x'.repeat(5000), `HTTP 400: ${'x'.repeat(1000)}…`],
  ])('the body %j', (body, found) => {
    expect(responseError('do it', { status: 400, body }, {}).found).toBe(found);
  });
});
