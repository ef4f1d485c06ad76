# SPDX-License-Identifier: GPL-2.0-or-later
# Translations become packages of their own in LuCI's build; here buildroot/translations.py makes them.
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

# LuCI keeps its menu, and rpcd its access groups, until they are told.
define Package/$(PKG_NAME)/postinst
#!/bin/sh
[ -n "$${IPKG_INSTROOT}" ] || {
	rm -f /tmp/luci-indexcache.*
	rm -rf /tmp/luci-modulecache/
	/etc/init.d/rpcd reload 2>/dev/null
	exit 0
}
endef

$(eval $(call BuildPackage,$(PKG_NAME)))
