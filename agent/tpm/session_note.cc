#include "agent/tpm/session_note.h"

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace cupel::agent {
namespace {

std::string ShowHandle(uint32_t handle) {
  return absl::StrCat("0x", absl::Hex(handle, absl::kZeroPad8));
}

}  // namespace

std::optional<NotedSession> ParseNotedSession(absl::string_view text) {
  const std::vector<std::string> words =
      absl::StrSplit(text, absl::ByAnyChar(" \n"), absl::SkipEmpty());
  constexpr size_t kFixedWords = 6;
  NotedSession note;
  if (words.size() < kFixedWords || words[0] != "policy-session" ||
      words[2] != "reset" || !absl::SimpleAtoi(words[3], &note.reset_count) ||
      words[4] != "restart" ||
      !absl::SimpleAtoi(words[5], &note.restart_count)) {
    return std::nullopt;
  }
  uint32_t handle = 0;
  if (words[1] != "new") {
    if (words.size() != kFixedWords ||
        !absl::SimpleHexAtoi(words[1], &handle)) {
      return std::nullopt;
    }
    note.session = handle;
    return note;
  }
  if (words.size() == kFixedWords || words[kFixedWords] != "beside") {
    return std::nullopt;
  }
  for (size_t i = kFixedWords + 1; i < words.size(); ++i) {
    if (!absl::SimpleHexAtoi(words[i], &handle)) return std::nullopt;
    note.beside.push_back(handle);
  }
  return note;
}

std::string ShowNotedSession(const NotedSession& note) {
  std::string text = absl::StrCat(
      "policy-session ",
      note.session.has_value() ? ShowHandle(*note.session) : "new", " reset ",
      note.reset_count, " restart ", note.restart_count);
  if (note.session.has_value()) return text;
  text += " beside";
  for (const uint32_t handle : note.beside) {
    absl::StrAppend(&text, " ", ShowHandle(handle));
  }
  return text;
}

}  // namespace cupel::agent
