#include "agent/tpm/session_note.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "catch2/catch.hpp"

namespace cupel::agent {
namespace {

TEST_CASE("a session's note is read as it was written") {
  const NotedSession opened{
      .session = 0x03000002, .reset_count = 7, .restart_count = 1};
  CHECK(ShowNotedSession(opened) ==
        "policy-session 0x03000002 reset 7 restart 1");
  CHECK(ParseNotedSession(ShowNotedSession(opened)) == opened);
  NotedSession expected{.session = {}, .reset_count = 4294967295};
  CHECK(ShowNotedSession(expected) ==
        "policy-session new reset 4294967295 restart 0 beside");
  CHECK(ParseNotedSession(ShowNotedSession(expected)) == expected);
  expected.beside = {0x02000000, 0x03000001};
  const std::string text = ShowNotedSession(expected);
  CHECK(ParseNotedSession(text) == expected);
  // What a file is padded with.
  CHECK(ParseNotedSession(absl::StrCat(text, "     \n")) == expected);
}

TEST_CASE("what is no session's note is none") {
  for (const char* const text :
       {"", "policy-session", "policy-session 0x03000002 reset 7 restart",
        "policy-session 0x03000002 reset 7 restart 1 beside 0x03000001",
        "policy-session 0x103000002 reset 7 restart 1",
        "policy-session x reset 7 restart 1",
        "policy-session 0x03000002 reset 4294967296 restart 1",
        "policy-session 0x03000002 reset -1 restart 1",
        "policy-session 0x03000002 restart 1 reset 7",
        "hmac-session 0x03000002 reset 7 restart 1",
        "policy-session new reset 7 restart 1",
        "policy-session new reset 7 restart 1 below 0x03000001",
        "policy-session new reset 7 restart 1 beside 0x03000001 y"}) {
    CAPTURE(text);
    CHECK_FALSE(ParseNotedSession(text).has_value());
  }
}

}  // namespace
}  // namespace cupel::agent
