# SPDX-License-Identifier: GPL-2.0-or-later
# Translations become packages of their own in LuCI's build; ours has none.
include $(INCLUDE_DIR)/package.mk

define Package/$(PKG_NAME)
  SECTION:=luci
  TITLE:=$(LUCI_TITLE)
  PKGARCH:=$(LUCI_PKGARCH)
  DEPENDS:=$(LUCI_DEPENDS)
endef

define Package/$(PKG_NAME)/description
$(LUCI_DESCRIPTION)
endef

define Package/$(PKG_NAME)/install
	if [ -d htdocs ]; then $(INSTALL_DIR) $(1)/www && cp -R htdocs/. $(1)/www/; fi
	if [ -d root ]; then cp -R root/. $(1)/; fi
	chmod -R u=rwX,go=rX $(1)
endef

$(eval $(call BuildPackage,$(PKG_NAME)))
