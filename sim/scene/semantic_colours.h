#pragma once
// How Semantic's classes are shown, in its order: the colours of Cityscapes where it has the class.

#include <array>
#include <string_view>

#include "kernels/ray_cast/ray_cast.h"

namespace dr::sim {

inline constexpr std::array<std::array<uint8_t, 3>, kSemantics> kSemanticColours{
    {{70, 130, 180}, {152, 251, 152}, {128, 64, 128}, {255, 255, 255}, {244, 196, 140}, {70, 70, 70}, {0, 0, 142},
     {153, 153, 153}, {107, 142, 35}}};
inline constexpr std::array<std::string_view, kSemantics> kSemanticNames{
    "sky", "terrain", "road", "marking", "shoulder", "building", "vehicle", "pole", "vegetation"};

}  // namespace dr::sim
