# SPDX-License-Identifier: GPL-2.0-or-later
LICENSE:=$(PKG_LICENSE)
LICENSE_FILES:=$(PKG_LICENSE_FILES)
MAINTAINER:=$(PKG_MAINTAINER)
VERSION:=$(PKG_VERSION)-r$(PKG_RELEASE)

# 1: package, 2: file and variable
write=$(if $(value Package/$(1)/$(2)),$(file >$(OUT)/$(2),$(Package/$(1)/$(2))))

# As many as a recipe has; PACKAGE is the one that is wanted.
define BuildPackage
$(if $(filter $(PACKAGE),$(1)),$(call BuildThis,$(1)))
endef

define BuildThis
$(eval $(Package/$(1)))
.PHONY: package
package:
	$$(INSTALL_DIR) $$(OUT)/root
	$$(foreach field,VERSION SECTION TITLE PKGARCH DEPENDS LICENSE LICENSE_FILES MAINTAINER,$$(file >$$(OUT)/$$(field),$$($$(field))))
	$$(foreach part,description conffiles preinst postinst prerm postrm,$$(call write,$(1),$$(part)))
$(call Package/$(1)/install,$(OUT)/root)
endef
