#include "verifier/rpc/refusal_log.h"

#include <algorithm>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "catch2/catch.hpp"

namespace cupel::verifier {
namespace {

struct LogRig {
  explicit LogRig(const RefusalLog::Bounds& bounds = {})
      : refusals(log, bounds) {}
  void Refuse(const std::string& address) {
    refusals.Write(LogLevel::kInfo, "refused", address, {{"reason", "x y"}},
                   now);
  }
  int64_t lines() const { return std::ranges::count(text, '\n'); }

  std::string text;
  Logger log{{.sink = [this](absl::string_view line) {
    text.append(line.data(), line.size());
  }}};
  RefusalLog refusals;
  absl::Time now = absl::FromUnixSeconds(1000);
};

TEST_CASE("A15: an address has a line a minute, which says what was left out") {
  LogRig rig;
  for (int i = 0; i < 1000; ++i) rig.Refuse("192.0.2.1");
  CHECK(rig.lines() == 1);
  CHECK(absl::StrContains(rig.text,
                          "refused reason=\"x y\" address=192.0.2.1\n"));
  // Others are not kept out by it.
  rig.Refuse("192.0.2.2");
  CHECK(rig.lines() == 2);
  rig.now += absl::Minutes(1);
  rig.Refuse("192.0.2.1");
  CHECK(rig.lines() == 3);
  CHECK(absl::StrContains(rig.text, "address=192.0.2.1 unlogged=999\n"));
}

TEST_CASE("A15: more addresses than are told apart share a line") {
  LogRig rig({.interval = absl::Minutes(1), .max_addresses = 3});
  for (int i = 0; i < 100; ++i) rig.Refuse(absl::StrCat("192.0.2.", i));
  CHECK(rig.lines() <= 4);
  // Those that were quiet make room, however often they came before.
  rig.Refuse("192.0.2.1");
  rig.now += absl::Minutes(2);
  rig.text.clear();
  rig.Refuse("198.51.100.1");
  CHECK(absl::StrContains(rig.text, "address=198.51.100.1\n"));
}

}  // namespace
}  // namespace cupel::verifier
