#include "server/field_path.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

bool path_wrong(struct field_path *p, const char *format, ...)
{
	char what[96];
	va_list args;

	va_start(args, format);
	vsnprintf(what, sizeof(what), format, args);
	va_end(args);
	snprintf(p->error->text, sizeof(p->error->text), "%.*s%s%s", (int)p->len, p->text,
	         p->len ? ": " : "", what);
	return false;
}

size_t path_enter(struct field_path *p, const char *format, ...)
{
	size_t before = p->len;
	va_list args;

	va_start(args, format);
	vsnprintf(p->text + before, sizeof(p->text) - before, format, args);
	va_end(args);
	p->len = strlen(p->text);
	return before;
}

void path_leave(struct field_path *p, size_t before)
{
	p->len = before;
	p->text[before] = '\0';
}
