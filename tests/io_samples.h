#pragma once
// Small images that others wrote, of kinds that our own writers do not make.

#include <cstdint>
#include <string>
#include <string_view>

namespace dr::test {

inline std::string base64_decoded(std::string_view text) {
  constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string s;
  uint32_t bits = 0;
  int n = 0;
  for (char c : text) {
    if (c == '=') break;
    bits = bits << 6 | uint32_t(kDigits.find(c));
    if ((n += 6) >= 8) s += char(bits >> (n -= 8));
  }
  return s;
}

// 3 x 2, palette of four colours, 2 bits: red, green, blue / white, blue, green. By Pillow.
inline constexpr std::string_view kPalettePng =
    "iVBORw0KGgoAAAANSUhEUgAAAAMAAAACAgMAAADgGo6JAAAADFBMVEX/AAAA/wAAAP/////7AGD2AAAADElEQVR4nGOQYHgCAAEwAP1W"
    "zRxzAAAAAElFTkSuQmCC";
// 2 x 1, RGB and alpha: (1,2,3) (64,128,0). By Pillow.
inline constexpr std::string_view kAlphaPng =
    "iVBORw0KGgoAAAANSUhEUgAAAAIAAAABCAYAAAD0In+KAAAAEUlEQVR4nGNkZGL+b1/3txEACiYDQkw/u1EAAAAASUVORK5CYII=";
// 11 x 9, palette of four colours (0,1,2) (3,4,5) (6,7,8) (9,10,11), 2 bits, interlaced, two entries with alpha.
inline constexpr std::string_view kInterlacedPng =
    "iVBORw0KGgoAAAANSUhEUgAAAAsAAAAJAgMAAAHuDQ4oAAAADFBMVEUAAQIDBAUGBwgJCgvcTDicAAAAAnRSTlMAgJsrThgAAAAsSURBVHja"
    "Y2RglGeEYBBpx8ggyChvACXt/Blj8xhreoFcJSDfESiQABSpBwBx3AbKmv1FiQAAAABJRU5ErkJggg==";
// 9 x 9, progressive, colour subsampled. By Pillow.
inline constexpr std::string_view kProgressiveJpeg =
    "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAFA3PEY8MlBGQUZaVVBfeMiCeG5uePWvuZHI////////////////////////////////////////////"
    "////////2wBDAVVaWnhpeOuCguv/////////////////////////////////////////////////////////////////////////wgARCAAJAAkD"
    "ASIAAhEBAxEB/8QAFQABAQAAAAAAAAAAAAAAAAAAAQD/xAAUAQEAAAAAAAAAAAAAAAAAAAAA/9oADAMBAAIQAxAAAAElP//EABYQAAMAAAAAAAAA"
    "AAAAAAAAAAAQQf/aAAgBAQABBQJQ/8QAFBEBAAAAAAAAAAAAAAAAAAAAAP/aAAgBAwEBPwF//8QAFBEBAAAAAAAAAAAAAAAAAAAAAP/aAAgBAgEB"
    "PwF//8QAFhAAAwAAAAAAAAAAAAAAAAAAABBB/9oACAEBAAY/AiP/xAAbEAABBAMAAAAAAAAAAAAAAAAAARARITFx8P/aAAgBAQABPyHqIK47b//a"
    "AAwDAQACAAMAAAAQ4//EABQRAQAAAAAAAAAAAAAAAAAAAAD/2gAIAQMBAT8Qf//EABQRAQAAAAAAAAAAAAAAAAAAAAD/2gAIAQIBAT8Qf//EAB8Q"
    "AAEDAwUAAAAAAAAAAAAAAAEAETEQUYFxobHh8P/aAAgBAQABPxAAMwi0MnTC9P2ts4NP/9k=";

}  // namespace dr::test
