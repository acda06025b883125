import { expect, it } from 'vitest';
import { sourceTexts } from './source-text.ts';

const shown = (source: string): string[] =>
  sourceTexts(source.replaceAll('§', '$')).map(({ kind, text, line }) => `${line} ${kind} ${text}`);

it.each<[string, string, string[]]>([
  ['line_comment', 'a; // one\n// two', ['1 comment one', '2 comment two']],
  ['block_comment', '\n/**\n * One\n * two.\n */\nx', ['3 comment One\ntwo.']],
  ['strings', `a('it', "b\\"c")`, ['1 string it', '1 string b"c']],
  ['comment_in_string', `'http://x'; // y`, ['1 string http://x', '1 comment y']],
  ['string_in_comment', `// it's\n'x'`, ["1 comment it's", '2 string x']],
  ['template', '`a §{b} c`', ['1 string a … c']],
  ['template_in_template', '`a §{b ? `c §{d}` : "e"} f`', ['1 string c …', '1 string e', '1 string a … f']],
  ['braces_in_template', '`a §{f({ x: { y: 1 } })} b`; "c"', ['1 string a … b', '1 string c']],
  ['regex', `/'"\`/.test(x); 'y'`, ['1 string y']],
  ['regex_with_class', `a = /[/'"]/g; 'y'`, ['1 string y']],
  ['regex_after_return', `return /'/; 'y'`, ['1 string y']],
  ['division', `a / b; 'x' / 2; c / 'y'`, ['1 string x', '1 string y']],
  ['lines_are_counted', '`a\nb`;\n/* c\nd */\n"e"', ['1 string a\nb', '3 comment c\nd', '5 string e']],
])('%s', (_, source, expected) => expect(shown(source)).toEqual(expected));
