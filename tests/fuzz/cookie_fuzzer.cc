// Nothing that was not sealed opens. The input is a cookie; then a content of
// the input's fields is sealed and opens as it was, until a bit of it changes.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <utility>
#include <vector>

#include "common/util/byte_reader.h"
#include "common/util/bytes.h"
#include "verifier/enrollment/cookie.h"

namespace {

using cupel::verifier::CookieContent;
using cupel::verifier::CookieKeys;

std::unique_ptr<CookieKeys> MakeKeys() {
  std::vector<cupel::Secret> keys;
  keys.emplace_back(std::vector<uint8_t>(32, 0x11));
  return CookieKeys::Create(std::move(keys)).value();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const std::unique_ptr<CookieKeys> keys = MakeKeys();
  const std::span<const uint8_t> input(data, size);
  // The corpus has cookies that these keys have sealed.
  const auto opened = keys->Open(input);
  if (opened.ok()) {
    std::vector<uint8_t> changed = cupel::ToVector(input);
    changed.back() ^= 1;
    if (keys->Open(changed).ok()) std::abort();
  }

  if (size < 2) return 0;
  const size_t first = std::min<size_t>(data[0], size - 2);
  const std::span<const uint8_t> rest = input.subspan(2);
  const std::vector<uint8_t> id(16, static_cast<uint8_t>(data[1] | 1));
  const CookieContent content{
      .issued = absl::FromUnixMicros(static_cast<int64_t>(size)),
      .agent_id = cupel::AgentId::FromBytes(id).value(),
      .ek_certificate = cupel::ToVector(rest.subspan(first)),
      .ek_template = "L-1",
      .ak_public = cupel::ToVector(rest.first(first)),
      .verifier_certificate = std::vector<uint8_t>(32, 1),
      .token = std::string(cupel::AsText(rest.first(first))),
      .secret = cupel::Secret(id)};
  auto cookie = keys->Seal(content);
  if (!cookie.ok()) return 0;
  const auto again = keys->Open(*cookie);
  if (!again.ok() || again->content.ek_certificate != content.ek_certificate ||
      again->content.ak_public != content.ak_public ||
      again->content.token != content.token ||
      again->content.issued != content.issued ||
      !(again->content.agent_id == content.agent_id)) {
    std::abort();
  }
  (*cookie)[size % cookie->size()] ^= 0x80;
  if (keys->Open(*cookie).ok()) std::abort();
  return 0;
}
