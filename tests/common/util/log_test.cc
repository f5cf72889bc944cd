#include "common/util/log.h"

#include <limits>
#include <string>
#include <thread>
#include <vector>

#include "catch2/catch.hpp"

namespace cupel {
namespace {

// A logger that keeps its lines.
class LogTest {
 public:
  explicit LogTest(LogFormat format, LogLevel least = LogLevel::kDebug)
      : logger_(
            {.format = format,
             .least = least,
             .sink =
                 [this](absl::string_view line) { lines_.emplace_back(line); },
             .clock = [] { return absl::FromUnixMillis(1'700'000'000'123); }}) {
  }

  Logger& logger() { return logger_; }
  const std::vector<std::string>& lines() const { return lines_; }

 private:
  std::vector<std::string> lines_;
  Logger logger_;
};

TEST_CASE("A line of text has time, level, message and fields") {
  LogTest test(LogFormat::kText);
  test.logger().Info("Checking IMA measurement list...");
  test.logger().Warning("File not found in allowlist",
                        {{"path", "/root/evil script.sh"},
                         {"count", 3},
                         {"live", true},
                         {"took", absl::Milliseconds(120)},
                         {"ratio", 0.5},
                         {"empty", ""}});
  REQUIRE(test.lines().size() == 2);
  CHECK(test.lines()[0] ==
        "2023-11-14T22:13:20.123Z INFO - Checking IMA measurement list...\n");
  CHECK(test.lines()[1] ==
        "2023-11-14T22:13:20.123Z WARNING - File not found in allowlist "
        "path=\"/root/evil script.sh\" count=3 live=true took=120ms ratio=0.5 "
        "empty=\"\"\n");
}

TEST_CASE("A line of JSON has the same") {
  LogTest test(LogFormat::kJson);
  test.logger().Error("it said \"no\"",
                      {{"path", "/a\"b"},
                       {"count", uint64_t{18446744073709551615u}},
                       {"ratio", std::numeric_limits<double>::infinity()},
                       {"error", absl::NotFoundError("no a")}});
  REQUIRE(test.lines().size() == 1);
  CHECK(test.lines()[0] ==
        R"({"time":"2023-11-14T22:13:20.123Z","level":"ERROR",)"
        R"("message":"it said \"no\"","path":"/a\"b",)"
        R"("count":18446744073709551615,"ratio":"inf",)"
        R"("error":"NOT_FOUND: no a"})"
        "\n");
}

TEST_CASE("No value and no message steers a terminal or begins a line [A20]") {
  const std::string evil = "a\x1b[2J\nERROR - fake\xe2\x80\xae\xff\x7f";
  const std::string tame = R"(a\x1b[2J\nERROR - fake\xe2\x80\xae\xff\x7f)";
  LogTest text(LogFormat::kText);
  text.logger().Info(evil, {{"path", evil}, {"e", absl::InternalError(evil)}});
  CHECK(text.lines().at(0) == "2023-11-14T22:13:20.123Z INFO - " + tame +
                                  " path=\"" + tame +
                                  "\" e=\"INTERNAL: " + tame + "\"\n");
  LogTest json(LogFormat::kJson);
  json.logger().Info(evil, {{"path", evil}});
  const std::string twice =
      R"(a\\x1b[2J\\nERROR - fake\\xe2\\x80\\xae\\xff\\x7f)";
  CHECK(json.lines().at(0) ==
        R"({"time":"2023-11-14T22:13:20.123Z","level":"INFO","message":")" +
            twice + R"(","path":")" + twice + "\"}\n");
}

TEST_CASE("What was escaped before is not escaped again in a message") {
  LogTest test(LogFormat::kText);
  test.logger().Info(R"(/tmp/\x1b: gone)", {{"raw", R"(a\b)"}});
  CHECK(test.lines().at(0) ==
        "2023-11-14T22:13:20.123Z INFO - /tmp/\\x1b: gone raw=a\\\\b\n");
}

TEST_CASE("A forged field stays inside of quotes") {
  LogTest test(LogFormat::kText);
  test.logger().Info("x", {{"path", "a state=TRUSTED"}, {"b", "\" c=\"d"}});
  CHECK(test.lines().at(0) ==
        "2023-11-14T22:13:20.123Z INFO - x path=\"a state=TRUSTED\" "
        "b=\"\\\" c=\\\"d\"\n");
}

TEST_CASE("What is below the least level is dropped") {
  LogTest test(LogFormat::kText, LogLevel::kWarning);
  test.logger().Debug("a");
  test.logger().Info("b");
  test.logger().Warning("c");
  test.logger().Error("d");
  CHECK(test.lines().size() == 2);
}

TEST_CASE("Lines of several threads don't mix") {
  LogTest test(LogFormat::kText);
  std::vector<std::jthread> threads;
  threads.reserve(4);
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&test, i] {
      for (int j = 0; j < 250; ++j) test.logger().Info("m", {{"i", i}});
    });
  }
  threads.clear();
  CHECK(test.lines().size() == 1000);
}

}  // namespace
}  // namespace cupel
