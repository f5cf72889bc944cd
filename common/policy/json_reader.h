// Reads a JSON document member by member, for this folder's loaders.
#ifndef CUPEL_COMMON_POLICY_JSON_READER_H_
#define CUPEL_COMMON_POLICY_JSON_READER_H_

#include <simdjson.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "common/util/status_macros.h"

namespace cupel::policy {

// Where a value stands, for messages: names are only put together once
// something is wrong. Lives on the stack, parents outlive children.
struct JsonMember {
  const JsonMember* parent = nullptr;
  absl::string_view key = {};
  // An element of an array, where not negative.
  int64_t index = -1;
  // A key that is data (a path, say), not part of the format.
  bool is_data = false;

  JsonMember Member(absl::string_view name) const& {
    return {.parent = this, .key = name};
  }
  JsonMember Data(absl::string_view name) const& {
    return {.parent = this, .key = name, .is_data = true};
  }
  JsonMember Element(int64_t at) const& {
    return {.parent = this, .key = {}, .index = at};
  }
  // The child points to its parent: never to a temporary.
  JsonMember Member(absl::string_view name) const&& = delete;
  JsonMember Data(absl::string_view name) const&& = delete;
  JsonMember Element(int64_t at) const&& = delete;
  // `digests["/usr/bin/x"][1]`, `ima.log_hash_alg`; keys are raw bytes in it.
  std::string Name() const;
};

// A pass over simdjson's on-demand parser that visits everything, since
// on-demand checks only what is visited. Stricter than JSON: a key twice in one
// object is an error. Wider in one point: the escapes \udc80 to \udcff that
// don't follow a high surrogate stand for the bytes 0x80 to 0xff, as Python's
// "surrogateescape" writes file names that are not UTF-8.
//
// Every error is kInvalidArgument, "ORIGIN:LINE: MEMBER: what", with origin and
// member escaped.
class JsonReader {
 public:
  using Value = simdjson::ondemand::value;

  JsonReader(std::vector<uint8_t> bytes, std::string origin);

  // Calls `visit(key, value)` for each member of the document, which must be
  // an object with nothing after it.
  template <typename Visit>
  absl::Status ReadDocument(Visit visit) {
    simdjson::ondemand::object object;
    CUPEL_RETURN_IF_ERROR(Open(object));
    CUPEL_RETURN_IF_ERROR(Members(object, JsonMember{}, visit, true));
    return Close();
  }

  // The same for an object inside. With `check_keys` false the caller finds
  // keys that occur twice.
  template <typename Visit>
  absl::Status ReadObject(Value value, const JsonMember& member, Visit visit,
                          bool check_keys = true) {
    simdjson::ondemand::object object;
    if (const auto error = value.get_object().get(object)) {
      return TypeError(member, error, "an object");
    }
    return Members(object, member, visit, check_keys);
  }

  // Calls `visit(value, index)` for each element.
  template <typename Visit>
  absl::Status ReadArray(Value value, const JsonMember& member, Visit visit) {
    simdjson::ondemand::array array;
    if (const auto error = value.get_array().get(array)) {
      return TypeError(member, error, "an array");
    }
    int64_t index = 0;
    for (auto element : array) {
      Value inner;
      if (const auto error = element.get(inner)) return SyntaxError(error);
      CUPEL_RETURN_IF_ERROR(visit(inner, index++));
    }
    return absl::OkStatus();
  }

  // The string's bytes, which alias the document or `scratch`.
  absl::StatusOr<absl::string_view> ReadString(Value value,
                                               const JsonMember& member,
                                               std::string& scratch);
  absl::StatusOr<int64_t> ReadInteger(Value value, const JsonMember& member);
  // Any value, as the text that it is in the document, checked to be JSON.
  absl::StatusOr<absl::string_view> ReadRaw(Value value,
                                            const JsonMember& member);
  static bool IsObject(Value value);
  static bool IsString(Value value);

  // An error about the value that was read last.
  absl::Status Error(const JsonMember& member, absl::string_view message) const;
  // "ORIGIN: MEMBER", for warnings: raw, as runtime_policy.h says.
  std::string Origin(const JsonMember& member) const;

 private:
  template <typename Visit>
  absl::Status Members(simdjson::ondemand::object& object,
                       const JsonMember& member, Visit& visit,
                       bool check_keys) {
    absl::flat_hash_set<std::string> keys;
    for (auto field : object) {
      simdjson::ondemand::raw_json_string raw;
      if (const auto error = field.key().get(raw)) return SyntaxError(error);
      std::string scratch;
      CUPEL_ASSIGN_OR_RETURN(const absl::string_view key,
                             Decode(raw.raw(), scratch, member));
      if (check_keys && !keys.insert(std::string(key)).second) {
        return Error(member.Data(key), "stands there twice");
      }
      Value value;
      if (const auto error = field.value().get(value)) {
        return SyntaxError(error);
      }
      CUPEL_RETURN_IF_ERROR(visit(key, value));
    }
    return absl::OkStatus();
  }

  absl::Status Open(simdjson::ondemand::object& object);
  absl::Status Close();
  absl::StatusOr<absl::string_view> Decode(const char* raw,
                                           std::string& scratch,
                                           const JsonMember& member);
  absl::Status SyntaxError(simdjson::error_code error);
  absl::Status TypeError(const JsonMember& member, simdjson::error_code error,
                         absl::string_view wanted);
  std::string Place(const char* at) const;

  std::vector<uint8_t> bytes_;  // with simdjson's padding after `size_` bytes
  size_t size_;
  std::string origin_;
  // Where the value that was read last starts.
  const char* at_;
  simdjson::ondemand::parser parser_;
  simdjson::ondemand::document document_;
};

}  // namespace cupel::policy

#endif  // CUPEL_COMMON_POLICY_JSON_READER_H_
