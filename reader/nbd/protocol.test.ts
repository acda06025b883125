import { describe, expect, it } from 'vitest';
import { specTable, structRows } from '../../formats/zfile/testing/spec-table.ts';
import { chunkHeader, greeting, optionHeader, optionReply, request, simpleReply } from './protocol.ts';

const readme = new URL('README.md', import.meta.url);

describe('reader/nbd/README.md', () => {
  it.each([
    ['Greeting', greeting],
    ['Option', optionHeader],
    ['Answer to an option', optionReply],
    ['Request', request],
    ['Simple answer', simpleReply],
    ['Chunk of a structured answer', chunkHeader],
  ])('%s is the structure of the code', (heading, table) => {
    expect(structRows(table)).toEqual(specTable(readme, heading));
  });
});

it('reads offsets past 2^53 as larger than any device', () => {
  const bytes = Buffer.alloc(request.size);
  bytes.fill(0xff, request.offsets.offset, request.offsets.offset + 8);
  expect(request.read(bytes).offset).toBeGreaterThan(Number.MAX_SAFE_INTEGER);
});
