#include "server/field_path.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include "base/text.h"

static size_t enter(struct field_path *p, const char *name, size_t index)
{
	INVARIANT(p->depth < FIELD_PATH_MAX);
	p->step[p->depth] = (struct path_step){ name, index };
	return p->depth++;
}

size_t path_enter(struct field_path *p, const char *name)
{
	return enter(p, name, 0);
}

size_t path_enter_item(struct field_path *p, size_t index)
{
	return enter(p, NULL, index);
}

size_t path_enter_key(struct field_path *p, const char *key)
{
	return enter(p, key, SIZE_MAX);
}

void path_leave(struct field_path *p, size_t before)
{
	p->depth = before;
}

static void text_step(struct text *t, const struct path_step *step)
{
	if (!step->name) {
		text_ch(t, '[');
		text_u64(t, step->index);
		text_ch(t, ']');
	} else if (step->index == SIZE_MAX) {
		/* A part is enough to know it by. */
		text_str(t, "[\"");
		text_strn(t, step->name, strlen(step->name) < 32 ? strlen(step->name) : 32);
		text_str(t, "\"]");
	} else {
		if (t->len)
			text_ch(t, '.');
		text_str(t, step->name);
	}
}

bool path_wrong(const struct field_path *p, const char *format, ...)
{
	struct text t = TEXT_IN(p->error->text);
	char what[96];
	va_list args;

	va_start(args, format);
	vsnprintf(what, sizeof(what), format, args);
	va_end(args);
	for (size_t i = 0; i < p->depth; i++)
		text_step(&t, &p->step[i]);
	if (t.len)
		text_str(&t, ": ");
	text_str(&t, what);
	return false;
}
