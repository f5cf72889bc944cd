#include "common/policy/python_regex.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <set>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/util/escape.h"
#include "common/util/status_macros.h"
#include "common/util/utf8.h"

namespace cupel::policy {
namespace {

constexpr int kMaxDepth = 100;
constexpr int kMaxRepeat = 1000;  // RE2's

// The members of \d, \w and \s, and the other ASCII characters, as the inside
// of a RE2 class.
struct ClassText {
  absl::string_view inside;
  absl::string_view others;
};

std::optional<ClassText> ClassOf(char letter) {
  constexpr ClassText kDigit{"0-9", "\\x00-/:-\\x7f"};
  constexpr ClassText kWord{"0-9A-Za-z_", "\\x00-/:-@\\[-\\^`{-\\x7f"};
  constexpr ClassText kSpace{"\\t-\\r\\x1c-\\x20",
                             "\\x00-\\x08\\x0e-\\x1b!-\\x7f"};
  switch (letter) {
    case 'd':
      return kDigit;
    case 'D':
      return ClassText{kDigit.others, kDigit.inside};
    case 'w':
      return kWord;
    case 'W':
      return ClassText{kWord.others, kWord.inside};
    case 's':
      return kSpace;
    case 'S':
      return ClassText{kSpace.others, kSpace.inside};
    default:
      return std::nullopt;
  }
}

void AppendByte(uint8_t byte, std::string& out) {
  constexpr char kDigits[] = "0123456789abcdef";
  if (absl::ascii_isalnum(byte) || byte == '/' || byte == '_') {
    out.push_back(static_cast<char>(byte));
  } else {
    absl::StrAppend(&out, "\\x", std::string(1, kDigits[byte >> 4]),
                    std::string(1, kDigits[byte & 15]));
  }
}

std::string Utf8(uint32_t code) {
  std::string out;
  AppendUtf8(code, out);
  return out;
}

absl::Status Refused(absl::string_view what) {
  return absl::InvalidArgumentError(what);
}

class Translator {
 public:
  explicit Translator(absl::string_view pattern) : in_(pattern) {}

  absl::StatusOr<TranslatedRegex> Translate() {
    CUPEL_RETURN_IF_ERROR(ReadGlobalFlags());
    TranslatedRegex result;
    do {
      CUPEL_ASSIGN_OR_RETURN(RegexBranch branch, ReadBranch(0, caseless_));
      if (!flags_.empty()) {
        branch.re2 = absl::StrCat("(?", flags_, ":", branch.re2, ")");
      }
      result.branches.push_back(std::move(branch));
    } while (Take('|'));
    if (!AtEnd())
      return Refused("a closing parenthesis without an opening one");
    return result;
  }

 private:
  // What one item of a branch is, before its quantifier.
  struct Atom {
    std::string re2;
    std::string literal;  // the bytes it stands for, if it is plain
    bool is_any = false;  // `.`
    bool is_class = false;
    bool is_anchor = false;
    bool is_start_anchor = false;
    bool is_end_anchor = false;
    bool starts_with_slash = false;
    bool is_closed = false;  // a group whose end says how the path goes on
  };
  enum class Repeat { kNone, kAtLeastOnce, kOther };

  bool AtEnd() const { return at_ == in_.size(); }
  char Peek() const { return AtEnd() ? '\0' : in_[at_]; }
  absl::string_view Rest() const { return in_.substr(at_); }
  bool Take(char c) {
    if (AtEnd() || in_[at_] != c) return false;
    ++at_;
    return true;
  }
  bool Take(absl::string_view text) {
    if (!absl::StartsWith(Rest(), text)) return false;
    at_ += text.size();
    return true;
  }

  // `(?i)` and `(?s)`; Python wants them first.
  absl::Status ReadGlobalFlags() {
    while (absl::StartsWith(Rest(), "(?")) {
      const size_t end = in_.find_first_not_of("aiLmsux", at_ + 2);
      if (end == at_ + 2 || end == in_.npos || in_[end] != ')') break;
      CUPEL_ASSIGN_OR_RETURN(
          const std::string flags,
          ReadFlagLetters(in_.substr(at_ + 2, end - at_ - 2)));
      for (const char flag : flags) {
        if (flags_.find(flag) == flags_.npos) flags_.push_back(flag);
        if (flag == 'i') caseless_ = true;
      }
      at_ = end + 1;
    }
    return absl::OkStatus();
  }

  // The flags that RE2 needs to know; `a` and `u` change nothing here.
  static absl::StatusOr<std::string> ReadFlagLetters(
      absl::string_view letters) {
    std::string flags;
    for (const char letter : letters) {
      if (letter == 'i' || letter == 's') {
        flags.push_back(letter);
      } else if (letter != 'a' && letter != 'u') {
        return Refused(absl::StrCat("the flag (?", std::string(1, letter),
                                    ") has no use for paths: leave it out"));
      }
    }
    return flags;
  }

  absl::StatusOr<RegexBranch> ReadBranch(int depth, bool caseless) {
    RegexBranch branch;
    bool prefix_open = !caseless;
    bool is_first = true;
    // How the branch ends so far.
    bool ends_in_name = false;
    while (!AtEnd() && Peek() != '|' && Peek() != ')') {
      if (Take("(?#")) {
        const size_t end = in_.find(')', at_);
        if (end == in_.npos) return Refused("a comment (?# without its end");
        at_ = end + 1;
        continue;
      }
      CUPEL_ASSIGN_OR_RETURN(Atom atom, ReadAtom(depth, caseless));
      std::string quantifier;
      CUPEL_ASSIGN_OR_RETURN(const Repeat repeat, ReadQuantifier(quantifier));
      if (repeat != Repeat::kNone) {
        if (atom.is_anchor) return Refused("nothing to repeat");
        // One character may be several bytes.
        if (atom.literal.size() > 1) {
          atom.re2 = absl::StrCat("(?:", atom.re2, ")");
        }
      }
      absl::StrAppend(&branch.re2, atom.re2, quantifier);

      if (prefix_open) {
        if (!atom.literal.empty() && repeat != Repeat::kOther) {
          branch.literal_prefix += atom.literal;
        }
        prefix_open = repeat == Repeat::kNone &&
                      (!atom.literal.empty() ||
                       (atom.is_start_anchor && branch.literal_prefix.empty()));
      }
      const bool is_repeated = repeat != Repeat::kNone;
      if (is_first && repeat != Repeat::kOther) {
        branch.starts_with_slash = atom.starts_with_slash;
      }
      if (is_first && atom.is_any && is_repeated) branch.starts_with_any = true;
      if (atom.is_any && !is_repeated) branch.has_bare_dot = true;
      if (atom.is_any && is_repeated) {
        branch.has_open_end = ends_in_name;
      } else {
        branch.has_open_end =
            !(atom.is_end_anchor || atom.is_closed || atom.literal == "/" ||
              (atom.is_class && is_repeated));
      }
      ends_in_name =
          !atom.literal.empty() && atom.literal != "/" && !is_repeated;
      if (!atom.is_start_anchor) is_first = false;
    }
    return branch;
  }

  absl::StatusOr<Atom> ReadAtom(int depth, bool caseless) {
    Atom atom;
    const char c = Peek();
    switch (c) {
      case '(':
        ++at_;
        return ReadGroup(depth, caseless);
      case '[':
        ++at_;
        return ReadClass();
      case '\\':
        ++at_;
        return ReadEscape(caseless);
      case '.':
        ++at_;
        atom.re2 = ".";
        atom.is_any = true;
        return atom;
      case '^':
        ++at_;
        atom.re2 = "\\A";
        atom.is_anchor = atom.is_start_anchor = true;
        return atom;
      case '$':
        ++at_;
        atom.re2 = "\\z";
        atom.is_anchor = atom.is_end_anchor = true;
        return atom;
      case '*':
      case '+':
      case '?':
        return Refused(
            absl::StrCat("nothing to repeat before ", std::string(1, c)));
      default:
        break;
    }
    // Python refuses a leading {2} but takes a brace that is no quantifier.
    if (c == '{') {
      const size_t start = at_;
      std::string quantifier;
      CUPEL_ASSIGN_OR_RETURN(const Repeat repeat, ReadQuantifier(quantifier));
      if (repeat != Repeat::kNone) return Refused("nothing to repeat before {");
      at_ = start;
    }
    const size_t size = std::max<size_t>(1, DecodeUtf8(Rest()).size);
    const absl::string_view character = in_.substr(at_, size);
    at_ += size;
    return Literal(character, caseless);
  }

  static absl::StatusOr<Atom> Literal(absl::string_view bytes, bool caseless) {
    Atom atom;
    for (const char c : bytes) {
      const auto byte = static_cast<uint8_t>(c);
      if (byte >= 0x80 && caseless) {
        return Refused(
            "a non-ASCII character under (?i): leave the flag out "
            "and write both cases");
      }
      AppendByte(byte, atom.re2);
    }
    atom.literal = std::string(bytes);
    atom.starts_with_slash = bytes == "/";
    return atom;
  }

  absl::StatusOr<Atom> ReadGroup(int depth, bool caseless) {
    if (depth >= kMaxDepth) {
      return Refused(absl::StrCat("groups over ", kMaxDepth, " deep"));
    }
    std::string flags;
    if (Take('?')) {
      if (absl::StartsWith(Rest(), "=") || absl::StartsWith(Rest(), "!") ||
          absl::StartsWith(Rest(), "<=") || absl::StartsWith(Rest(), "<!")) {
        return Refused(
            "look-around (?=, (?!, (?<= or (?<!) is not supported: list what "
            "is to be excluded, each as a pattern of its own");
      }
      if (Peek() == '>') {
        return Refused(
            "an atomic group (?>...) is not supported: write "
            "(?:...)");
      }
      if (Peek() == '(') {
        return Refused(
            "a conditional group (?(...)...) is not supported: "
            "write each case as a pattern of its own");
      }
      if (absl::StartsWith(Rest(), "P=")) {
        return Refused(
            "the back-reference (?P=name) is not supported: write "
            "the text again");
      }
      if (Take("P<")) {
        const size_t end = in_.find('>', at_);
        if (end == in_.npos) return Refused("a group name without its >");
        CUPEL_RETURN_IF_ERROR(AddName(in_.substr(at_, end - at_)));
        at_ = end + 1;
      } else if (!Take(':')) {
        CUPEL_RETURN_IF_ERROR(ReadScopedFlags(flags, caseless));
      }
    }
    Atom atom;
    atom.re2 = absl::StrCat("(?", flags, ":");
    bool is_first = true;
    atom.starts_with_slash = true;
    do {
      CUPEL_ASSIGN_OR_RETURN(const RegexBranch branch,
                             ReadBranch(depth + 1, caseless));
      absl::StrAppend(&atom.re2, is_first ? "" : "|", branch.re2);
      atom.starts_with_slash &= branch.starts_with_slash;
      if (!branch.has_open_end && !branch.re2.empty()) atom.is_closed = true;
      is_first = false;
    } while (Take('|'));
    if (!Take(')')) return Refused("an opening parenthesis without its end");
    atom.re2.push_back(')');
    return atom;
  }

  absl::Status AddName(absl::string_view name) {
    if (name.empty() || absl::ascii_isdigit(static_cast<uint8_t>(name[0]))) {
      return Refused("a group without a valid name");
    }
    for (const char c : name) {
      if (!absl::ascii_isalnum(static_cast<uint8_t>(c)) && c != '_') {
        return Refused("a group without a valid name");
      }
    }
    if (!names_.insert(name).second) {
      return Refused("two groups of one name");
    }
    return absl::OkStatus();
  }

  // `(?i:` and `(?s-i:`, from after the question mark.
  absl::Status ReadScopedFlags(std::string& flags, bool& caseless) {
    const size_t end = in_.find_first_not_of("aiLmsux-", at_);
    if (end == in_.npos || end == at_ || in_[end] != ':') {
      if (end != in_.npos && end != at_ && in_[end] == ')') {
        return Refused("flags like (?i) may only stand at the very start");
      }
      return Refused(absl::StrCat("the group (?",
                                  EscapeForDisplay(Rest().substr(0, 1)),
                                  " is unknown"));
    }
    const absl::string_view letters = in_.substr(at_, end - at_);
    const size_t minus = letters.find('-');
    CUPEL_ASSIGN_OR_RETURN(flags, ReadFlagLetters(letters.substr(0, minus)));
    if (absl::StrContains(flags, 'i')) caseless = true;
    if (minus != letters.npos) {
      const absl::string_view removed = letters.substr(minus + 1);
      if (removed.empty() || removed.find_first_not_of("is") != removed.npos) {
        return Refused("only the flags i and s can be turned off");
      }
      if (absl::StrContains(removed, 'i')) caseless = false;
      absl::StrAppend(&flags, "-", removed);
    }
    at_ = end + 1;
    return absl::OkStatus();
  }

  // After the backslash, outside of [...].
  absl::StatusOr<Atom> ReadEscape(bool caseless) {
    if (AtEnd()) return Refused("a backslash at the end");
    Atom atom;
    const char c = in_[at_];
    switch (c) {
      case 'A':
        ++at_;
        atom.re2 = "\\A";
        atom.is_anchor = atom.is_start_anchor = true;
        return atom;
      case 'Z':
        ++at_;
        atom.re2 = "\\z";
        atom.is_anchor = atom.is_end_anchor = true;
        return atom;
      case 'b':
      case 'B':
        // RE2's word boundary is ASCII: it would find one before a byte from
        // 0x80.
        return Refused(absl::StrCat("the word boundary \\", std::string(1, c),
                                    " is not supported: write what may follow, "
                                    "as in (?:/|\\Z)"));
      default:
        break;
    }
    if (const auto text = ClassOf(c)) {
      ++at_;
      atom.re2 = absl::StrCat("[", text->inside, "]");
      atom.is_class = true;
      return atom;
    }
    if (c >= '1' && c <= '9' && !IsOctalEscape()) {
      return Refused(absl::StrCat("the back-reference \\", std::string(1, c),
                                  " is not supported: write the text again"));
    }
    CUPEL_ASSIGN_OR_RETURN(const std::string bytes, ReadCharacterEscape());
    return Literal(bytes, caseless);
  }

  // Three octal digits are a character, fewer a back-reference.
  bool IsOctalEscape() const {
    if (in_.size() - at_ < 3) return false;
    for (size_t i = 0; i < 3; ++i) {
      if (in_[at_ + i] < '0' || in_[at_ + i] > '7') return false;
    }
    return true;
  }

  // An escape that stands for one character, as the character's bytes.
  absl::StatusOr<std::string> ReadCharacterEscape() {
    const char c = in_[at_++];
    switch (c) {
      case 'a':
        return std::string("\a");
      case 'f':
        return std::string("\f");
      case 'n':
        return std::string("\n");
      case 'r':
        return std::string("\r");
      case 't':
        return std::string("\t");
      case 'v':
        return std::string("\v");
      case '\\':
        return std::string("\\");
      case 'x':
        return ReadHexEscape(2);
      case 'u':
        return ReadHexEscape(4);
      case 'U':
        return ReadHexEscape(8);
      default:
        break;
    }
    const auto byte = static_cast<uint8_t>(c);
    if (absl::ascii_isdigit(byte)) {
      --at_;
      return ReadOctalEscape();
    }
    if (absl::ascii_isalpha(byte)) {
      return Refused(
          absl::StrCat("the escape \\", std::string(1, c), " is unknown"));
    }
    --at_;
    const size_t size = std::max<size_t>(1, DecodeUtf8(Rest()).size);
    at_ += size;
    return std::string(in_.substr(at_ - size, size));
  }

  absl::StatusOr<std::string> ReadHexEscape(size_t digits) {
    uint32_t code = 0;
    for (size_t i = 0; i < digits; ++i) {
      const char c = Peek();
      if (AtEnd() || !absl::ascii_isxdigit(static_cast<uint8_t>(c))) {
        return Refused(
            absl::StrCat("an escape without its ", digits, " hex digits"));
      }
      ++at_;
      const char lower = absl::ascii_tolower(static_cast<uint8_t>(c));
      const int digit = lower <= '9' ? lower - '0' : lower - 'a' + 10;
      code = code << 4 | static_cast<uint32_t>(digit);
    }
    // The form that Python gives to a byte that is not UTF-8.
    if (code >= 0xdc80 && code <= 0xdcff) {
      return std::string(1, static_cast<char>(code - 0xdc00));
    }
    if (code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff)) {
      return Refused("an escape that is no character");
    }
    return Utf8(code);
  }

  // \0, \07, \012 and \101.
  absl::StatusOr<std::string> ReadOctalEscape() {
    uint32_t code = 0;
    size_t digits = 0;
    while (digits < 3 && Peek() >= '0' && Peek() <= '7') {
      code = code * 8 + static_cast<uint32_t>(Peek() - '0');
      ++at_;
      ++digits;
    }
    if (digits == 0 || code > 0377) {
      return Refused("an octal escape out of range");
    }
    return Utf8(code);
  }

  // After the opening bracket.
  absl::StatusOr<Atom> ReadClass() {
    const bool is_negated = Take('^');
    std::string inside;
    bool has_letter_class = false;
    bool is_first = true;
    while (is_first || Peek() != ']') {
      if (AtEnd()) return Refused("a [ without its ]");
      is_first = false;
      if (Peek() == '\\' && at_ + 1 < in_.size()) {
        if (const auto text = ClassOf(in_[at_ + 1])) {
          at_ += 2;
          absl::StrAppend(&inside, text->inside);
          has_letter_class = true;
          // A minus between a class and a character is no range.
          if (Peek() == '-' && at_ + 1 < in_.size() && in_[at_ + 1] != ']') {
            return Refused("a class as the end of a range in [...]");
          }
          continue;
        }
      }
      CUPEL_ASSIGN_OR_RETURN(const uint8_t low, ReadClassCharacter());
      uint8_t high = low;
      if (Peek() == '-' && at_ + 1 < in_.size() && in_[at_ + 1] != ']') {
        ++at_;
        if (Peek() == '\\' && at_ + 1 < in_.size() && ClassOf(in_[at_ + 1])) {
          return Refused("a class as the end of a range in [...]");
        }
        CUPEL_ASSIGN_OR_RETURN(high, ReadClassCharacter());
        if (high < low) return Refused("a range in [...] that runs backwards");
      }
      AppendByte(low, inside);
      if (high != low) {
        inside.push_back('-');
        AppendByte(high, inside);
      }
    }
    ++at_;
    // Python's letter classes know all of Unicode; keep what is not ASCII out
    // on both sides.
    if (is_negated && has_letter_class) inside += "\\x80-\\xff";
    Atom atom;
    atom.re2 = absl::StrCat(is_negated ? "[^" : "[", inside, "]");
    atom.is_class = true;
    return atom;
  }

  absl::StatusOr<uint8_t> ReadClassCharacter() {
    if (AtEnd()) return Refused("a [ without its ]");
    std::string bytes;
    if (Take('\\')) {
      if (AtEnd()) return Refused("a backslash at the end");
      if (Take('b')) {
        bytes = "\b";
      } else {
        CUPEL_ASSIGN_OR_RETURN(bytes, ReadCharacterEscape());
      }
    } else {
      bytes = std::string(1, in_[at_++]);
    }
    if (static_cast<uint8_t>(bytes[0]) >= 0x80) {
      return Refused(
          "a non-ASCII character in [...]: write the characters as "
          "alternatives, (?:a|b)");
    }
    return static_cast<uint8_t>(bytes[0]);
  }

  absl::StatusOr<Repeat> ReadQuantifier(std::string& out) {
    Repeat repeat = Repeat::kNone;
    if (Take('*')) {
      out = "*";
      repeat = Repeat::kOther;
    } else if (Take('+')) {
      out = "+";
      repeat = Repeat::kAtLeastOnce;
    } else if (Take('?')) {
      out = "?";
      repeat = Repeat::kOther;
    } else if (Peek() == '{') {
      CUPEL_ASSIGN_OR_RETURN(const bool is_counted, ReadCounts(out));
      if (is_counted) repeat = Repeat::kOther;
    }
    if (repeat == Repeat::kNone) return repeat;
    if (Take('?')) {
      out.push_back('?');  // which of several matches is found is no matter
    } else if (Peek() == '+') {
      return Refused(
          "a possessive quantifier (*+, ++, ?+) is not supported: "
          "leave out the second +");
    }
    if (Peek() == '*' || Peek() == '+' || Peek() == '?') {
      return Refused("a quantifier after a quantifier");
    }
    if (Peek() == '{') {
      std::string second;
      CUPEL_ASSIGN_OR_RETURN(const bool is_counted, ReadCounts(second));
      if (is_counted) return Refused("a quantifier after a quantifier");
    }
    return repeat;
  }

  // `{2}`, `{2,}`, `{,3}`, `{2,3}`; anything else leaves the brace a literal
  // and returns false without having moved.
  absl::StatusOr<bool> ReadCounts(std::string& out) {
    const size_t start = at_;
    ++at_;
    std::optional<int> low;
    std::optional<int> high;
    CUPEL_ASSIGN_OR_RETURN(low, ReadCount());
    const bool has_comma = Take(',');
    if (has_comma) {
      CUPEL_ASSIGN_OR_RETURN(high, ReadCount());
    }
    if ((!low && !has_comma) || !Take('}')) {
      at_ = start;
      return false;
    }
    if (high && *high < low.value_or(0)) {
      return Refused("a repetition whose least is over its most");
    }
    if (low.value_or(0) > kMaxRepeat || high.value_or(0) > kMaxRepeat) {
      return Refused(absl::StrCat("a repetition over ", kMaxRepeat,
                                  ": write * or + instead"));
    }
    out = absl::StrCat("{", low.value_or(0));
    if (has_comma) absl::StrAppend(&out, ",");
    if (high) absl::StrAppend(&out, *high);
    out.push_back('}');
    return true;
  }

  absl::StatusOr<std::optional<int>> ReadCount() {
    std::optional<int> count;
    while (!AtEnd() && absl::ascii_isdigit(static_cast<uint8_t>(Peek()))) {
      count = count.value_or(0) * 10 + (Peek() - '0');
      // Enough to be refused; more digits would overflow.
      if (*count > kMaxRepeat) count = kMaxRepeat + 1;
      ++at_;
    }
    return count;
  }

  absl::string_view in_;
  size_t at_ = 0;
  std::string flags_;
  bool caseless_ = false;
  std::set<absl::string_view> names_;  // of groups
};

}  // namespace

absl::StatusOr<TranslatedRegex> TranslatePythonRegex(
    absl::string_view pattern) {
  return Translator(pattern).Translate();
}

}  // namespace cupel::policy
