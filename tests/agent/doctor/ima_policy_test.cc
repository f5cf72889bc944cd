#include "agent/doctor/ima_policy.h"

#include "catch2/catch.hpp"

namespace cupel::agent {
namespace {

TEST_CASE("a policy's lines are rules; comments are none") {
  const auto rules = ParseImaPolicy(
      "# comment\n\n  dont_measure\tfsmagic=0x9fa0\n"
      "measure func=FILE_CHECK mask=^MAY_READ uid<1000 permit_directio\n"
      "measure\x1b[2J\n");
  REQUIRE(rules.size() == 3);
  CHECK(rules[0].action == "dont_measure");
  CHECK(rules[0].Get("fsmagic") == "0x9fa0");
  CHECK(rules[1].Get("mask") == "^MAY_READ");
  CHECK(rules[1].Get("uid") == "<1000");
  CHECK(rules[1].Has("permit_directio"));
  CHECK_FALSE(rules[1].Has("euid"));
  CHECK(rules[2].text == "measure\\x1b[2J");
}

std::vector<std::string> RuleTexts(const std::vector<ImaRule>& rules) {
  std::vector<std::string> texts;
  texts.reserve(rules.size());
  for (const ImaRule& rule : rules) texts.push_back(rule.text);
  return texts;
}

TEST_CASE("the kernel's own rules go by the words of its command line") {
  CHECK(BuiltinImaRules({}, false).empty());
  CHECK(BuiltinImaRules({"secure_boot", "appraise_tcb", "x"}, false).empty());
  CHECK(RuleTexts(BuiltinImaRules({"critical_data"}, false)) ==
        std::vector<std::string>{"measure func=CRITICAL_DATA"});

  const auto tcb = RuleTexts(BuiltinImaRules({"tcb"}, false));
  CHECK(tcb.size() == 20);
  CHECK(tcb.front() == "dont_measure fsmagic=0x9fa0");
  CHECK(tcb.back() == "measure func=POLICY_CHECK");
  CHECK(RuleTexts(BuiltinImaRules({"secure_boot", "tcb"}, true)) == tcb);
  const auto legacy = RuleTexts(BuiltinImaRules({}, true));
  CHECK(legacy.size() == 19);
  auto both = tcb;
  both.emplace_back("measure func=CRITICAL_DATA");
  CHECK(RuleTexts(BuiltinImaRules({"critical_data", "tcb"}, false)) == both);
}

}  // namespace
}  // namespace cupel::agent
