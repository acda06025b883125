import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { integerOf, JsonNumber, parseJson, stringifyJson } from './exact-json.ts';

describe('numbers that a double would alter keep their text', () => {
  it.each([
    '9223372036854775807',
    '-9223372036854775808',
    '9007199254740993',
    '12345678901234567890',
    '1.0',
    '1e3',
    '1E+2',
    '-0',
    '0.10',
    '1e999',
    '0.1000000000000000055511151231257827',
  ])('number_%s', (source) => {
    const text = `{"a":[${source},{"b":${source}}],"c":"${source}","d":${source}}`;
    const value = parseJson(text);
    expect(value).toMatchObject({ a: [new JsonNumber(source), { b: new JsonNumber(source) }], c: source });
    expect(stringifyJson(value)).toBe(text);
  });

  it.each(['0', '1', '-1', '4096', '9007199254740991', '0.1', '1.5'])('number_%s_is_a_number', (source) => {
    expect(parseJson(`[${source}]`)).toEqual([Number(source)]);
  });
});

it('white space, escapes, nesting and keys are read as JSON.parse reads them', () => {
  const text =
    ' { "__proto__" : { "x" : 1 } , "a\\"b\\\\" : [ ] , "e" : { } , "u" : "\\u003c\\ud83d\\ude00\\\\" , "n" : null ,\t"t":true,\n"f" : false , "s" : 1 , "s" : 2 , "9":"x", "big" : 18446744073709551615 } \r\n';
  const plain = text.replace('18446744073709551615', '1');
  const value = parseJson(text) as Record<string, unknown>;
  expect(Object.keys(value)).toEqual(Object.keys(JSON.parse(plain) as object));
  expect({ ...value, big: 1 }).toEqual(JSON.parse(plain));
  expect(Object.hasOwn(value, '__proto__')).toBe(true);
  expect(stringifyJson(value)).toBe(JSON.stringify(JSON.parse(plain)).replace('"big":1', '"big":18446744073709551615'));
});

it('whatever JSON.stringify writes is read and written the same, with and without such a number', () => {
  fc.assert(
    fc.property(fc.jsonValue({ maxDepth: 5 }), fc.constantFrom(0, 2), (value, indent) => {
      // -0 is a number that JSON.stringify itself does not keep.
      const text = JSON.stringify(value, undefined, indent);
      const again = JSON.parse(text) as unknown;
      expect(parseJson(text)).toEqual(again);
      expect(stringifyJson(again, indent)).toBe(text);
      const wrapped = `{"big":123456789012345678901,"value":${text}}`;
      expect(parseJson(wrapped)).toEqual({ big: new JsonNumber('123456789012345678901'), value: again });
    }),
  );
});

it('values that JSON has no form for are left out, as JSON.stringify does', () => {
  const value = { a: undefined, b: [undefined, () => 1], c: Number.NaN, d: { e: undefined } };
  expect(stringifyJson(value)).toBe(JSON.stringify(value));
  expect(stringifyJson(value, 2)).toBe(JSON.stringify(value, undefined, 2));
});

it.each(['', '{', '{"a":01}', '[1,]', '{"a":1e}', 'nul', '[9223372036854775807'])('%j is no JSON', (text) => {
  expect(() => parseJson(text)).toThrow(SyntaxError);
});

it.each([
  [5, 5],
  [new JsonNumber('5.0'), 5],
  [new JsonNumber('1e3'), 1000],
  [new JsonNumber('9223372036854775807'), undefined],
  [1.5, undefined],
  ['5', undefined],
  [null, undefined],
  [true, undefined],
])('integer of %j', (value, expected) => {
  expect(integerOf(value)).toBe(expected);
});
