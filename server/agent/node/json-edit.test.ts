/** Edits of JSON in place: what setup adds goes in and out again, and all else keeps every byte. */
import { parse } from 'jsonc-parser';
import { describe, expect, it } from 'vitest';
import { changeJson, type JsonChange, revertJson } from './json-text.ts';

const P2P: readonly JsonChange[] = [
  { path: ['p2pConfig', 'enable'], value: true },
  { path: ['p2pConfig', 'address'], value: 'http://127.0.0.1:65001/dadip2p' },
];
const MIRROR: readonly JsonChange[] = [{ path: ['registry-mirrors'], first: 'http://127.0.0.1:65001' }];

const TEXTS: readonly (readonly [string, string])[] = [
  ['lines', '{\n  "a": 1\n}\n'],
  ['an object on the last line', '{\n    "a": { "size": 4.0, "b":[1,2] }\n}\n'],
  ['tabs and CRLF', '{\r\n\t"a": 1e2,\r\n\t"b": "x"\r\n}\r\n'],
  ['one line', '{"a":1}'],
  ['one line with spaces', '{ "a": 1, "b": 2 }\n'],
  ['a comment behind the last value', '{\n  "a": 1 // why, and "how": {\n}\n'],
  ['a comment with a comma below it', '{\n  "a": 1\n  // , "b": 2\n}\n'],
  ['a comment in one line', '{\n  "a": 1 /* , */\n}\n'],
  ['a trailing comma', '{\n  "a": 1,\n}\n'],
  ['a trailing comma and a comment', '{\n  "a": 1, // one\n  // two\n}\n'],
  ['commas at the start of lines', '{\n  "a": 1\n  , "b": 2\n}\n'],
  ['no line break at the end', '{\n  "a": 1\n}'],
  ['a closing brace on the last line', '{\n  "a": 1,\n  "b": 2 }\n'],
  ['comments before and after', '// head\n{\n  // in\n  "a": 1\n}\n// tail\n'],
  ['an object of ours that is there', '{\n  "p2pConfig": {\n    "other": 1 // keep\n  },\n  "z": 0\n}\n'],
  ['an empty object of ours', '{\n  "p2pConfig": {},\n  "z": 0\n}\n'],
  ['values of ours', '{"p2pConfig":{"address":"https://x","enable":false},"z":0}'],
  ['a list in one line', '{\n  "registry-mirrors": ["https://x", "https://y"]\n}\n'],
  [
    'a list in lines',
    '{\n  "registry-mirrors": [\n    // first\n    "https://x", // x\n    "https://y"\n  ],\n  "z": 0\n}\n',
  ],
  ['an empty list', '{\n  "registry-mirrors": [ ],\n  "z": 0\n}\n'],
];

describe.each([
  ['p2pConfig', P2P],
  ['registry-mirrors', MIRROR],
])('%s', (_, changes) => {
  it.each(TEXTS)('%s', (_name, text) => {
    const { text: changed, made } = changeJson(text, changes, 'x.json');
    const document = parse(changed) as Record<string, unknown>;
    for (const change of changes) {
      const value = change.path.reduce<unknown>((held, key) => (held as Record<string, unknown>)[key], document);
      expect('first' in change ? (value as string[])[0] : value).toBe('first' in change ? change.first : change.value);
    }
    // Comments and values of others are there as they were.
    const parts = text.match(/(?<!:)\/\/[^\n]*|\/\*.*?\*\/|\{ "size": 4\.0, "b":\[1,2\] \}|\b\d[\d.e]*/g);
    for (const part of parts ?? []) expect(changed).toContain(part);
    expect(changeJson(changed, changes, 'x.json').text).toBe(changed);
    expect(revertJson(changed, made, 'x.json')).toBe(text);
  });
});

it('what others add behind ours survives', () => {
  const { text, made } = changeJson('{\n  "a": 1 // one\n}\n', P2P, 'x.json');
  expect(text).toBe(
    '{\n  "a": 1, // one\n  "p2pConfig": {\n    "enable": true,\n    "address": "http://127.0.0.1:65001/dadip2p"\n  }\n}\n',
  );
  const edited = text.replace('  }\n}', '  }, // two\n  "b": 2\n}');
  expect(revertJson(edited, made, 'x.json')).toBe('{\n  "a": 1, // one\n  // two\n  "b": 2\n}\n');
});
