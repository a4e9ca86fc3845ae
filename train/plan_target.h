#pragma once
// What a plan head is to say: the trajectory that the log's vehicle followed.

#include "io/log.h"
#include "model/plan_head.h"

namespace dr {

// The plan at a time, seen from the pose then: kPlanSize numbers in units of plan_scale(), and a weight for each: 0 where
// the log has ended. Velocity, acceleration and rates are differences of poses a quarter of a second around each point
// (less at the log's ends).
void plan_target(const DrivingLog& log, double time_s, float* numbers, float* weights);

}  // namespace dr
