#pragma once
#include "iov_netlink.h"
