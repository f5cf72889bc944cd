#include "common/util/utf8.h"

namespace cupel {

Utf8Character DecodeUtf8(absl::string_view bytes) {
  if (bytes.empty()) return {};
  const auto at = [&](size_t i) { return static_cast<uint8_t>(bytes[i]); };
  const uint8_t lead = at(0);
  if (lead < 0x80) return {lead, 1};
  size_t size = 0;
  uint32_t value = 0;
  uint32_t minimum = 0;
  if (lead >= 0xc2 && lead <= 0xdf) {
    size = 2, value = lead & 0x1f, minimum = 0x80;
  } else if (lead >= 0xe0 && lead <= 0xef) {
    size = 3, value = lead & 0x0f, minimum = 0x800;
  } else if (lead >= 0xf0 && lead <= 0xf4) {
    size = 4, value = lead & 0x07, minimum = 0x10000;
  } else {
    return {};
  }
  if (bytes.size() < size) return {};
  for (size_t i = 1; i < size; ++i) {
    if ((at(i) & 0xc0) != 0x80) return {};
    value = value << 6 | (at(i) & 0x3f);
  }
  if (value < minimum || value > 0x10ffff) return {};
  if (value >= 0xd800 && value <= 0xdfff) return {};
  return {value, size};
}

void AppendUtf8(uint32_t code_point, std::string& out) {
  const auto put = [&](uint32_t byte) {
    out.push_back(static_cast<char>(byte));
  };
  const auto put_continuation = [&](uint32_t shift) {
    put(0x80 | (code_point >> shift & 0x3f));
  };
  if (code_point < 0x80) {
    put(code_point);
  } else if (code_point < 0x800) {
    put(0xc0 | code_point >> 6);
    put_continuation(0);
  } else if (code_point < 0x10000) {
    put(0xe0 | code_point >> 12);
    put_continuation(6);
    put_continuation(0);
  } else {
    put(0xf0 | code_point >> 18);
    put_continuation(12);
    put_continuation(6);
    put_continuation(0);
  }
}

}  // namespace cupel
