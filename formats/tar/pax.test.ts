import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { AccelError } from '../../base/error.ts';
import { paxRecord } from '../../fixtures/tar-header.ts';
import { collectXattrs, parsePaxRecords, paxText, paxTime } from './pax.ts';

const parse = (text: string) => parsePaxRecords(Buffer.from(text, 'latin1'));
const entries = (text: string) => [...parse(text)].map(([key, value]) => [key, value]);

describe('parsePaxRecords', () => {
  test('length_1_digit', () => expect(entries('6 a=b\n')).toEqual([['a', 'b']]));
  test('shortest_record', () => expect(entries('5 a=\n')).toEqual([['a', '']]));
  test('length_2_to_3_digits', () => {
    for (let size = 80; size < 110; size++) {
      expect(entries(Buffer.from(paxRecord('key', 'v'.repeat(size))).toString('latin1'))).toEqual([
        ['key', 'v'.repeat(size)],
      ]);
    }
  });
  test('leading_zeros_in_length', () => expect(entries('008 a=b\n')).toEqual([['a', 'b']]));
  test('value_with_equals_newline_nul', () => {
    expect(entries('15 a==\n\0b=c\n\n\0\n')).toEqual([['a', '=\n\0b=c\n\n\0']]);
  });
  test('last_of_two_wins', () => expect(entries('6 a=1\n6 a=2\n')).toEqual([['a', '2']]));
  test('empty_body', () => expect(entries('')).toEqual([]));
  test('sparse_0_0_records_become_a_map', () => {
    const text =
      '23 GNU.sparse.offset=0\n25 GNU.sparse.numbytes=5\n24 GNU.sparse.offset=10\n25 GNU.sparse.numbytes=6\n';
    expect(entries(text)).toEqual([['GNU.sparse.map', '0,5,10,6']]);
  });
  for (const [name, text] of Object.entries({
    no_length: 'a=b\n',
    no_space: '6a=b\n',
    length_zero: '0 a=b\n',
    length_too_short: '1 a=b\n',
    length_inside_key: '3 a=b\n',
    length_before_newline: '5 a=b\n',
    length_past_end: '7 a=b\n',
    length_huge: '99999999999999999999 a=b\n',
    length_negative: '-6 a=b\n',
    no_equals: '6 abc\n',
    equals_in_next_record: '6 abc\n6 a=b\n',
    empty_key: '5 =b\n',
    nul_in_key: '7 a\0=b\n',
    no_newline: '6 a=bX',
    trailing_nul_padding: '6 a=b\n\0\0\0',
    sparse_length_before_offset: '25 GNU.sparse.numbytes=5\n',
  })) {
    test(`refuses ${name}`, () => expect(() => parse(text)).toThrow(AccelError));
  }

  test('any value of any bytes reads back', () => {
    const key = fc.stringMatching(/^[A-Za-z][A-Za-z.]{0,20}$/);
    fc.assert(
      fc.property(
        fc.uniqueArray(fc.tuple(key, fc.uint8Array({ maxLength: 300 })), { selector: ([k]) => k }),
        (list) => {
          const parsed = parsePaxRecords(Buffer.concat(list.map(([k, v]) => paxRecord(k, v))));
          expect([...parsed].map(([k, v]) => [k, Buffer.from(v, 'latin1').toString('hex')])).toEqual(
            list.map(([k, v]) => [k, Buffer.from(v).toString('hex')]),
          );
        },
      ),
    );
  });

  test('bytes that are no records give AccelError or records, nothing else', () => {
    fc.assert(
      fc.property(fc.stringMatching(/^[0-9 a=\n\0]{0,40}$/), (text) => {
        try {
          parse(text);
        } catch (error) {
          expect(error).toBeInstanceOf(AccelError);
        }
      }),
      { numRuns: 2000 },
    );
  });
});

describe('paxTime', () => {
  const time = (text: string) => paxTime(new Map([['mtime', text]]), 'mtime');
  const cases: Record<string, [number, number]> = {
    '0': [0, 0],
    '1700000000': [1700000000, 0],
    '1700000000.123456789': [1700000000, 123456789],
    '1.5': [1, 500000000],
    '1.': [1, 0],
    '1.000000001': [1, 1],
    '1.1234567899': [1, 123456789],
    '-1': [-1, 0],
    '-1.5': [-2, 500000000],
    '-0.25': [-1, 750000000],
    '-0': [0, 0],
    '-1.000000001': [-2, 999999999],
    '-1.0000000001': [-1, 0],
    '9007199254740990': [9007199254740990, 0],
  };
  for (const [text, [seconds, nanoseconds]] of Object.entries(cases)) {
    test(text, () => expect(time(text)).toEqual({ seconds, nanoseconds }));
  }
  test('empty takes the record back', () => expect(time('')).toBeUndefined());
  test('digits behind the ninth', () => {
    expect(time(`1.${'0'.repeat(100)}9`)).toEqual({ seconds: 1, nanoseconds: 0 });
  });
  for (const text of [
    'x',
    '.5',
    '1,5',
    '1e9',
    '+1',
    '--1',
    '1.5x',
    ' 1',
    '9007199254740991',
    '1\0',
    `1.${'0'.repeat(80)}x`,
  ]) {
    test(`refuses ${JSON.stringify(text)}`, () => expect(() => time(text)).toThrow(AccelError));
  }
});

describe('paxText and collectXattrs', () => {
  test('a NUL is refused', () => expect(() => paxText(parse('13 path=a\0b/\n'), 'path')).toThrow(/holds a NUL/));
  test('values are copies of any bytes, empty ones included', () => {
    const body = Buffer.concat([
      paxRecord('SCHILY.xattr.user.a', Buffer.from([0, 61, 10, 255])),
      paxRecord('SCHILY.xattr.user.empty', ''),
      paxRecord('SCHILY.fflags', 'nodump'),
      paxRecord('SCHILY.xattr.user.\xff', 'latin1 name'),
    ]);
    const xattrs = new Map<string, Uint8Array>();
    collectXattrs(parsePaxRecords(body), xattrs);
    body.fill(0);
    expect([...xattrs].map(([k, v]) => [k, Buffer.from(v).toString('latin1')])).toEqual([
      ['user.a', '\0=\n\xff'],
      ['user.empty', ''],
      ['user.\xff', 'latin1 name'],
    ]);
  });
  test('an attribute without a name is refused', () => {
    expect(() => collectXattrs(parse('19 SCHILY.xattr.=v\n'), new Map())).toThrow(/has no name/);
  });
});
