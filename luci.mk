# SPDX-License-Identifier: GPL-2.0-or-later
# Where openwrt/luci has its own luci.mk, two directories above an application: the app's recipe is the same there and here.
include $(TOPDIR)/feeds/luci/luci.mk
