#pragma once
// .npy: one array, as NumPy saves it (format versions 1, 2 and 3; little-endian).
//   "\x93NUMPY", u8 major, u8 minor, u16 (version 1) or u32 header length, header, the elements
//   {'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }   padded with spaces, newline at the end
// Source: numpy.org/doc/stable/reference/generated/numpy.lib.format.html

#include <string>

#include "io/array.h"

namespace dr {

// Reads and checks the header; the elements are mapped. Refused: pickles under any name, arrays of objects (which hold
// pickles, and a pickle runs code when it is loaded), records, texts, dates, big-endian values, and files that are
// longer or shorter than the header says. An array in Fortran order has StoredArray::column_major.
StoredArray read_npy(const std::string& path);
StoredArray parse_npy(FileBytes file);

// Version 1, row-major. The view is of host memory, with any strides.
void write_npy(const std::string& path, const View& view);

}  // namespace dr
