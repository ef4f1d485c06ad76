# SPDX-License-Identifier: GPL-2.0-or-later
# As much of OpenWrt's build system as our recipes need: with TOPDIR here, `make -C package/vpnpt PACKAGE=vpnpt OUT=DIR` writes what a recipe
# says into files of DIR, and installs into DIR/root.
INCLUDE_DIR:=$(TOPDIR)/include
INSTALL_DIR:=install -d -m0755
INSTALL_BIN:=install -m0755
INSTALL_DATA:=install -m0644
INSTALL_CONF:=install -m0600
