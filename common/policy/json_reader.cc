#include "common/policy/json_reader.h"

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>
#include <optional>

#include "absl/strings/ascii.h"
#include "common/util/escape.h"
#include "common/util/utf8.h"

namespace cupel::policy {
namespace {

std::string QuotedRaw(absl::string_view text) {
  return absl::StrCat("\"", text.substr(0, kShownSize),
                      text.size() > kShownSize ? "\"..." : "\"");
}

std::optional<uint32_t> HexDigits(const char* from, const char* end) {
  if (end - from < 4) return std::nullopt;
  uint32_t value = 0;
  for (int i = 0; i < 4; ++i) {
    const char c = from[i];
    value <<= 4;
    if (c >= '0' && c <= '9') {
      value |= static_cast<uint32_t>(c - '0');
    } else if (c >= 'a' && c <= 'f') {
      value |= static_cast<uint32_t>(c - 'a' + 10);
    } else if (c >= 'A' && c <= 'F') {
      value |= static_cast<uint32_t>(c - 'A' + 10);
    } else {
      return std::nullopt;
    }
  }
  return value;
}

}  // namespace

std::string JsonMember::Name() const {
  std::string name = parent == nullptr ? "" : parent->Name();
  if (index >= 0) {
    absl::StrAppend(&name, "[", index, "]");
  } else if (is_data && !name.empty()) {
    absl::StrAppend(&name, "[", QuotedRaw(key), "]");
  } else if (is_data) {
    name = QuotedRaw(key);
  } else if (!key.empty()) {
    absl::StrAppend(&name, name.empty() ? "" : ".", key);
  }
  return name;
}

JsonReader::JsonReader(std::vector<uint8_t> bytes, std::string origin)
    : bytes_(std::move(bytes)),
      size_(bytes_.size()),
      origin_(std::move(origin)) {
  bytes_.resize(size_ + simdjson::SIMDJSON_PADDING);
  at_ = reinterpret_cast<const char*>(bytes_.data());
}

std::string JsonReader::Place(const char* at) const {
  const char* const begin = reinterpret_cast<const char*>(bytes_.data());
  const char* const end = std::clamp(at, begin, begin + size_);
  return absl::StrCat(EscapeForDisplay(origin_), ":",
                      1 + std::count(begin, end, '\n'));
}

absl::Status JsonReader::Error(const JsonMember& member,
                               absl::string_view message) const {
  const std::string name = EscapeForDisplay(member.Name());
  return absl::InvalidArgumentError(
      absl::StrCat(Place(at_), ": ", name, name.empty() ? "" : ": ", message));
}

std::string JsonReader::Origin(const JsonMember& member) const {
  return absl::StrCat(origin_, ": ", member.Name());
}

absl::Status JsonReader::SyntaxError(simdjson::error_code error) {
  const char* at = nullptr;
  // Without a location all that is known is that it is not before the last
  // value.
  if (document_.current_location().get(at) != simdjson::SUCCESS) at = at_;
  return absl::InvalidArgumentError(absl::StrCat(
      Place(at), ": not valid JSON: ", simdjson::error_message(error)));
}

absl::Status JsonReader::TypeError(const JsonMember& member,
                                   simdjson::error_code error,
                                   absl::string_view wanted) {
  const char* at = nullptr;
  if (document_.current_location().get(at) == simdjson::SUCCESS) at_ = at;
  if (error == simdjson::INCORRECT_TYPE || error == simdjson::NUMBER_ERROR) {
    return Error(member, absl::StrCat("must be ", wanted));
  }
  return SyntaxError(error);
}

absl::Status JsonReader::Open(simdjson::ondemand::object& object) {
  if (size_ >= 3 && std::memcmp(bytes_.data(), "\xef\xbb\xbf", 3) == 0) {
    return Error({}, "starts with a byte order mark: save it without");
  }
  const simdjson::padded_string_view view(
      reinterpret_cast<const char*>(bytes_.data()), size_, bytes_.size());
  if (const auto error = parser_.iterate(view).get(document_)) {
    return absl::InvalidArgumentError(
        absl::StrCat(EscapeForDisplay(origin_),
                     ": not valid JSON: ", simdjson::error_message(error)));
  }
  if (const auto error = document_.get_object().get(object)) {
    return TypeError({}, error, "a JSON object");
  }
  return absl::OkStatus();
}

absl::Status JsonReader::Close() {
  // simdjson's word for: every token has been read.
  if (document_.current_location().error() == simdjson::OUT_OF_BOUNDS) {
    return absl::OkStatus();
  }
  return SyntaxError(simdjson::TRAILING_CONTENT);
}

absl::StatusOr<absl::string_view> JsonReader::Decode(const char* raw,
                                                     std::string& scratch,
                                                     const JsonMember& member) {
  at_ = raw;
  const char* const end = reinterpret_cast<const char*>(bytes_.data()) + size_;
  const auto rest = [&](const char* from) {
    return static_cast<size_t>(end - from);
  };
  const auto* quote =
      static_cast<const char*>(std::memchr(raw, '"', rest(raw)));
  if (quote == nullptr) return SyntaxError(simdjson::UNCLOSED_STRING);
  const absl::string_view plain(raw, static_cast<size_t>(quote - raw));
  if (plain.find('\\') == plain.npos) return plain;

  scratch.clear();
  for (const char* from = raw; from != end;) {
    const char c = *from++;
    if (c == '"') return absl::string_view(scratch);
    if (c != '\\') {
      scratch.push_back(c);
      continue;
    }
    if (from == end) break;
    switch (*from++) {
      case '"':
        scratch.push_back('"');
        break;
      case '\\':
        scratch.push_back('\\');
        break;
      case '/':
        scratch.push_back('/');
        break;
      case 'b':
        scratch.push_back('\b');
        break;
      case 'f':
        scratch.push_back('\f');
        break;
      case 'n':
        scratch.push_back('\n');
        break;
      case 'r':
        scratch.push_back('\r');
        break;
      case 't':
        scratch.push_back('\t');
        break;
      case 'u': {
        std::optional<uint32_t> code = HexDigits(from, end);
        if (!code) return Error(member, "\\u without four hex digits");
        from += 4;
        if (*code >= 0xd800 && *code < 0xdc00) {
          std::optional<uint32_t> low;
          if (rest(from) >= 6 && from[0] == '\\' && from[1] == 'u') {
            low = HexDigits(from + 2, end);
          }
          if (!low || *low < 0xdc00 || *low > 0xdfff) {
            return Error(member, "half of a surrogate pair");
          }
          from += 6;
          code = 0x10000 + ((*code - 0xd800) << 10) + (*low - 0xdc00);
        } else if (*code >= 0xdc80 && *code <= 0xdcff) {
          scratch.push_back(static_cast<char>(*code - 0xdc00));
          break;
        } else if (*code >= 0xdc00 && *code <= 0xdfff) {
          return Error(member, "half of a surrogate pair");
        }
        AppendUtf8(*code, scratch);
        break;
      }
      default:
        return Error(member,
                     "a backslash before a character that JSON does "
                     "not escape");
    }
  }
  return SyntaxError(simdjson::UNCLOSED_STRING);
}

absl::StatusOr<absl::string_view> JsonReader::ReadString(
    Value value, const JsonMember& member, std::string& scratch) {
  simdjson::ondemand::raw_json_string raw;
  if (const auto error = value.get_raw_json_string().get(raw)) {
    return TypeError(member, error, "a string");
  }
  return Decode(raw.raw(), scratch, member);
}

absl::StatusOr<int64_t> JsonReader::ReadInteger(Value value,
                                                const JsonMember& member) {
  int64_t number = 0;
  if (const auto error = value.get_int64().get(number)) {
    return TypeError(member, error, "an integer");
  }
  return number;
}

absl::StatusOr<absl::string_view> JsonReader::ReadRaw(
    Value value, const JsonMember& member) {
  simdjson::ondemand::json_type type;
  if (const auto error = value.type().get(type)) return SyntaxError(error);
  std::string_view raw;
  simdjson::error_code error = simdjson::SUCCESS;
  if (type == simdjson::ondemand::json_type::object) {
    simdjson::ondemand::object object;
    error = value.get_object().get(object);
    if (!error) error = object.raw_json().get(raw);
  } else if (type == simdjson::ondemand::json_type::array) {
    simdjson::ondemand::array array;
    error = value.get_array().get(array);
    if (!error) error = array.raw_json().get(raw);
  } else {
    // Reading the token leaves it to be read.
    raw = value.raw_json_token();
    if (type == simdjson::ondemand::json_type::null) {
      bool is_null = false;
      error = value.is_null().get(is_null);
    } else if (type == simdjson::ondemand::json_type::boolean) {
      bool flag = false;
      error = value.get_bool().get(flag);
    } else if (type == simdjson::ondemand::json_type::number) {
      simdjson::ondemand::number number;
      error = value.get_number().get(number);
    } else {
      simdjson::ondemand::raw_json_string text;
      error = value.get_raw_json_string().get(text);
    }
  }
  if (error) return SyntaxError(error);
  at_ = raw.data();
  // simdjson only counted brackets.
  if (!nlohmann::json::accept(raw)) return Error(member, "not valid JSON");
  return absl::StripAsciiWhitespace(absl::string_view(raw.data(), raw.size()));
}

bool JsonReader::IsObject(Value value) {
  simdjson::ondemand::json_type type;
  return !value.type().get(type) &&
         type == simdjson::ondemand::json_type::object;
}

bool JsonReader::IsString(Value value) {
  simdjson::ondemand::json_type type;
  return !value.type().get(type) &&
         type == simdjson::ondemand::json_type::string;
}

}  // namespace cupel::policy
