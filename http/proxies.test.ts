import { describe, expect, test } from 'vitest';
import { parseProxy, proxyRules } from './proxies.ts';

const usage = (variable: string) => expect.objectContaining({ code: 'usage', where: { variable } });

describe('a proxy as its variable names it', () => {
  test.each([
    ['http://proxy:3128', 'http://proxy:3128/'],
    ['proxy:3128', 'http://proxy:3128/'],
    ['proxy.corp.example', 'http://proxy.corp.example/'],
    ['localhost:3128', 'http://localhost:3128/'],
    ['10.1.2.3:8080', 'http://10.1.2.3:8080/'],
    ['[2001:db8::1]:8080', 'http://[2001:db8::1]:8080/'],
    [' proxy:3128\n', 'http://proxy:3128/'],
    ['HTTPS://proxy', 'https://proxy/'],
    ['socks5://proxy:1080', 'socks5://proxy:1080'],
  ])('%j is %s', (text, url) => expect(parseProxy(text, 'HTTPS_PROXY').url.href).toBe(url));

  test.each([
    '::bad',
    'http://',
    'http://:3128',
    'http:/proxy:99999',
    'proxy:port',
    'proxy:0',
    'proxy:65536',
    'ftp://proxy:21',
    'file:///etc/passwd',
    'two words',
    'http://u:100%@proxy',
    'http://[::1',
  ])('%j is a usage error that names the variable', (text) => {
    expect(() => parseProxy(text, 'https_proxy')).toThrow(usage('https_proxy'));
  });

  test('its user and password become a header; an error shows neither', () => {
    const { authorization } = parseProxy('u%40x:p%3Aw@proxy:1', 'HTTP_PROXY');
    expect(Buffer.from(authorization!.slice(6), 'base64').toString()).toBe('u@x:p:w');
    expect(() => parseProxy('user:proxy-secret@:1', 'HTTP_PROXY')).toThrow(
      expect.objectContaining({ found: '…@:1', code: 'usage' }),
    );
  });
});

describe('the proxy for a URL', () => {
  const ask = (env: Record<string, string>, url: string) => proxyRules(env)(new URL(url))?.url.host;
  test.each([
    [{ HTTP_PROXY: 'a:1' }, 'http://r.io/', 'a:1'],
    [{ HTTP_PROXY: 'a:1', http_proxy: 'b:1' }, 'http://r.io/', 'b:1'],
    [{ HTTP_PROXY: 'a:1', http_proxy: '' }, 'http://r.io/', 'a:1'],
    [{ HTTP_PROXY: 'a:1' }, 'https://r.io/', 'a:1'],
    [{ HTTP_PROXY: 'a:1', HTTPS_PROXY: 'b:1' }, 'https://r.io/', 'b:1'],
    [{ HTTPS_PROXY: 'b:1' }, 'http://r.io/', undefined],
    [{}, 'https://r.io/', undefined],
    [{ HTTP_PROXY: 'a:1' }, 'http://127.0.0.1:5000/', undefined],
    [{ HTTP_PROXY: 'a:1' }, 'http://localhost/', undefined],
    [{ HTTP_PROXY: '::bad' }, 'http://[::1]/', undefined],
  ])('%j, %s: %s', (env, url, host) => expect(ask(env, url)).toBe(host));

  test.each(['HTTP_PROXY', 'http_proxy', 'HTTPS_PROXY', 'https_proxy'])('%s that makes no sense is named', (name) => {
    expect(() => ask({ [name]: 'gopher://x' }, 'https://r.io/')).toThrow(usage(name));
  });
});

describe('NO_PROXY', () => {
  const direct = (list: string, url: string) =>
    proxyRules({ HTTPS_PROXY: 'proxy:1', HTTP_PROXY: 'proxy:1', NO_PROXY: list })(new URL(url)) === undefined;

  test.each([
    ['*', 'https://r.io/'],
    ['a.io, r.io', 'https://r.io/'],
    ['a.io r.io', 'https://r.io/'],
    ['r.io', 'https://sub.r.io/'],
    ['.r.io', 'https://sub.r.io/'],
    ['*.r.io', 'https://sub.r.io/'],
    ['R.IO', 'https://r.io/'],
    ['r.io.', 'https://r.io/'],
    ['r.io', 'https://r.io./'],
    ['r.io:5000', 'https://r.io:5000/'],
    ['r.io:443', 'https://r.io/'],
    ['r.io:80', 'http://r.io/'],
    ['203.0.113.7', 'http://203.0.113.7:5000/'],
    ['203.0.113.7:5000', 'http://203.0.113.7:5000/'],
    ['203.0.113.0/24', 'http://203.0.113.7:5000/'],
    ['10.0.0.0/8,172.30.0.0/16', 'https://172.30.255.1/'],
    ['0.0.0.0/0', 'https://8.8.8.8/'],
    ['203.0.113.0/24:5000', 'http://203.0.113.7:5000/'],
    ['2001:db8::/32', 'https://[2001:db8::7]:5000/'],
    ['2001:DB8:0:0::7', 'https://[2001:db8::7]/'],
    ['[2001:db8::7]', 'https://[2001:db8::7]/'],
    ['[2001:db8::7]:5000', 'https://[2001:db8::7]:5000/'],
    ['[2001:db8::]/32', 'https://[2001:db8::7]/'],
    ['[2001:db8::]/32:5000', 'https://[2001:db8::7]:5000/'],
    ['::/0', 'https://[2001:db8::7]/'],
    ['203.0.113.0/24', 'https://[::ffff:203.0.113.9]/'],
  ])('%j keeps %s off the proxy', (list, url) => expect(direct(list, url)).toBe(true));

  test.each([
    ['', 'https://r.io/'],
    ['r.io', 'https://other.io/'],
    ['r.io', 'https://notr.io/'],
    ['r.io:5000', 'https://r.io/'],
    ['203.0.113.0/24', 'http://203.0.114.1/'],
    ['203.0.113.0/25', 'http://203.0.113.128/'],
    ['203.0.113.0/24:5000', 'http://203.0.113.7/'],
    ['203.0.113.0/24', 'http://203.0.113.example.com/'],
    ['2001:db8::/33', 'https://[2001:db8:8000::1]/'],
    ['2001:db8::7', 'https://[2001:db8::8]/'],
    ['10.0.0.0/8', 'https://[2001:db8::7]/'],
  ])('%j sends %s to it', (list, url) => expect(direct(list, url)).toBe(false));

  test.each([
    '10.0.0.0/33',
    '10.0.0/8',
    '2001:db8::/129',
    'r.io:99999',
    'r.io:port',
    'a/b',
    'http://r.io',
    '[zz]',
    '10.0.0.0/',
  ])('the entry %j is a usage error that names the variable', (entry) => {
    expect(() => direct(`ok.io,${entry}`, 'https://r.io/')).toThrow(
      expect.objectContaining({ code: 'usage', where: { variable: 'NO_PROXY' }, found: entry }),
    );
  });
});
